// Viewer of meshes side by side: drag to turn, wheel to zoom. The script follows its <div class='meshes'>, whose first
// child holds the scenes as JSON; see mesh_viewer.py for the format.
(() => {
  const root = document.currentScript.previousElementSibling;
  const scenes = JSON.parse(root.querySelector("script").textContent);
  const choice = root.querySelector("select");
  const canvas = root.querySelector("canvas");
  const labels = root.querySelector(".labels");
  const colored = root.querySelector("input");
  const gl = canvas.getContext("webgl2", { antialias: true });
  if (!gl) {
    root.querySelector(".note").textContent = "This browser does not draw 3D (WebGL 2); the images below show the same.";
    canvas.remove();
    return;
  }

  const VERTEX = `#version 300 es
    in vec3 position; in vec3 color; uniform mat3 turn; uniform float zoom; out vec3 seen; out vec3 tint;
    void main() {
      seen = turn * position;
      tint = color;
      gl_Position = vec4(seen.xy * zoom, -seen.z * 0.4, 1.0);
    }`;
  // Flat shading: the normal of a triangle is that of its plane in view space, so no normals are stored.
  const FRAGMENT = `#version 300 es
    precision highp float; in vec3 seen; in vec3 tint; uniform bool colored; out vec4 result;
    void main() {
      vec3 normal = normalize(cross(dFdx(seen), dFdy(seen)));
      float light = 0.3 + 0.55 * max(dot(normal, normalize(vec3(-0.4, 0.6, 0.8))), 0.0) + 0.2 * (0.5 + 0.5 * normal.y);
      result = vec4((colored ? tint : vec3(0.62, 0.72, 0.84)) * light, 1.0);
    }`;
  const program = gl.createProgram();
  for (const [type, source] of [[gl.VERTEX_SHADER, VERTEX], [gl.FRAGMENT_SHADER, FRAGMENT]]) {
    const shader = gl.createShader(type);
    gl.shaderSource(shader, source);
    gl.compileShader(shader);
    gl.attachShader(program, shader);
  }
  gl.linkProgram(program);
  gl.useProgram(program);
  const at = (name) => gl.getUniformLocation(program, name);

  const bytes = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  const buffer = (kind, data) => {
    const made = gl.createBuffer();
    gl.bindBuffer(kind, made);
    gl.bufferData(kind, data, gl.STATIC_DRAW);
  };
  const attribute = (name, data, type) => {
    buffer(gl.ARRAY_BUFFER, data);
    const place = gl.getAttribLocation(program, name);
    gl.enableVertexAttribArray(place);
    gl.vertexAttribPointer(place, 3, type, true, 0, 0);
  };
  const upload = (mesh) => {
    const array = gl.createVertexArray();
    gl.bindVertexArray(array);
    attribute("position", bytes(mesh.positions), gl.SHORT);
    attribute("color", bytes(mesh.colors), gl.UNSIGNED_BYTE);
    const indices = bytes(mesh.indices);
    buffer(gl.ELEMENT_ARRAY_BUFFER, indices);
    return { array, count: indices.length / 4 };
  };

  let yaw = 0.6, pitch = 0.35, zoom = 1.0, shown = [];
  const draw = () => {
    const ratio = window.devicePixelRatio || 1;
    canvas.width = Math.round(canvas.clientWidth * ratio);
    canvas.height = Math.round(canvas.clientHeight * ratio);
    const [a, b, c, d] = [Math.cos(yaw), Math.sin(yaw), Math.cos(pitch), Math.sin(pitch)];
    gl.uniformMatrix3fv(at("turn"), false, [a, b * d, -b * c, 0, c, d, b, -a * d, a * c]);
    gl.uniform1f(at("zoom"), zoom);
    gl.enable(gl.DEPTH_TEST);
    gl.enable(gl.SCISSOR_TEST);
    gl.clearColor(1, 1, 1, 1);
    shown.forEach(({ array, count, errors }, n) => {
      const width = canvas.width / shown.length, side = Math.min(width, canvas.height);
      gl.scissor(n * width, 0, width, canvas.height);
      gl.viewport(n * width + (width - side) / 2, (canvas.height - side) / 2, side, side);
      gl.clear(gl.COLOR_BUFFER_BIT | gl.DEPTH_BUFFER_BIT);
      gl.uniform1i(at("colored"), colored.checked && errors ? 1 : 0);
      gl.bindVertexArray(array);
      gl.drawElements(gl.TRIANGLES, count, gl.UNSIGNED_INT, 0);
    });
  };
  const select = () => {
    shown.forEach(({ array }) => gl.deleteVertexArray(array));
    const meshes = scenes[choice.selectedIndex].meshes;
    shown = meshes.map((mesh) => ({ ...upload(mesh), errors: mesh.errors }));
    labels.replaceChildren(...meshes.map((mesh) => {
      const label = document.createElement("span");
      label.textContent = mesh.label;
      return label;
    }));
    draw();
  };

  scenes.forEach((scene) => choice.add(new Option(scene.name)));
  choice.addEventListener("change", select);
  colored.addEventListener("change", draw);
  canvas.addEventListener("pointerdown", (event) => canvas.setPointerCapture(event.pointerId));
  canvas.addEventListener("pointermove", (event) => {
    if (!event.buttons) return;
    yaw += event.movementX * 0.01;
    pitch = Math.max(-1.5, Math.min(1.5, pitch + event.movementY * 0.01));
    draw();
  });
  canvas.addEventListener("wheel", (event) => {
    event.preventDefault();
    zoom = Math.max(0.5, Math.min(8, zoom * Math.exp(-event.deltaY * 0.001)));
    draw();
  }, { passive: false });
  window.addEventListener("resize", draw);
  select();
})();
