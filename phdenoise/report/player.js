// Player of movies inside a page: slider, play, limits of the colours, value under the pointer.
"use strict";
(function () {
  const UNKNOWN = 65535, LAST = 65534;

  async function unpack(text) {
    const packed = Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
    const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
    return new Uint16Array(await new Response(stream).arrayBuffer());
  }

  function element(kind, parent, name, text) {
    const made = document.createElement(kind);
    if (name) made.className = name;
    if (text !== undefined) made.textContent = text;
    parent.append(made);
    return made;
  }

  const short = (v) => Number(v.toPrecision(5)).toString();

  async function build(root) {
    const scene = JSON.parse(root.querySelector("script").textContent);
    const [count, ny, nx] = scene.shape;
    const maps = {};
    for (const [name, text] of Object.entries(scene.maps))
      maps[name] = Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
    if (typeof DecompressionStream === "undefined") {
      element("p", root, "", "This browser is too old to play the movie; the figures show it.");
      return;
    }
    const controls = element("div", root, "controls");
    const play = element("button", controls, "play", "Play");
    const slider = element("input", controls);
    Object.assign(slider, { type: "range", min: 0, max: count - 1, value: 0, step: 1 });
    slider.setAttribute("aria-label", "frame");
    const time = element("span", controls, "time");
    const speed = element("select", controls);
    speed.setAttribute("aria-label", "frames a second");
    for (const rate of [1, 5, 10, 25]) {
      const option = element("option", speed, "", rate + " frames/s");
      option.value = rate;
      option.selected = rate === 10;
    }
    const box = element("div", root, "layers");
    const value = element("div", root, "value");
    const layers = [];
    for (const layer of scene.layers) {
      const part = element("div", box, "layer");
      element("div", part, "name", layer.name + " [" + layer.unit + "]");
      const picture = element("div", part, "picture");
      const canvas = element("canvas", picture);
      canvas.width = nx;
      canvas.height = ny;
      canvas.style.aspectRatio = nx * scene.pixel[1] + " / " + ny * scene.pixel[0];
      const length = element("div", picture, "length", scene.bar.text);
      length.style.width = 100 * scene.bar.share + "%";
      length.style.whiteSpace = "nowrap";
      element("i", length);
      const bar = element("canvas", part, "bar");
      bar.width = 256;
      bar.height = 1;
      const strip = bar.getContext("2d").createImageData(256, 1);
      for (let k = 0; k < 256; k++)
        strip.data.set([...maps[layer.colours].subarray(3 * k, 3 * k + 3), 255], 4 * k);
      bar.getContext("2d").putImageData(strip, 0, 0);
      const ends = element("div", part, "ends");
      const inputs = [0, 1].map((k) => {
        const input = element("input", ends);
        Object.assign(input, { type: "number", step: "any", value: short(layer.limits[k]) });
        input.setAttribute("aria-label", layer.name + (k ? ", upper" : ", lower") + " limit of the colours");
        return input;
      });
      const found = { ...layer, canvas, inputs, data: await unpack(layer.data) };
      layers.push(found);
      inputs.forEach((input, k) =>
        input.addEventListener("change", () => {
          const given = parseFloat(input.value);
          if (!Number.isFinite(given)) return;
          for (const other of layers)
            if (other.scale === found.scale) {
              other.limits[k] = given;
              other.inputs[k].value = short(given);
            }
          draw();
        }));
      canvas.addEventListener("pointermove", (event) => {
        const x = Math.min(nx - 1, Math.floor((event.offsetX / canvas.clientWidth) * nx));
        const y = Math.min(ny - 1, Math.floor((event.offsetY / canvas.clientHeight) * ny));
        const t = Number(slider.value);
        const said = layers.map((l) => {
          const v = l.data[(t * ny + y) * nx + x];
          return l.name + " " + (v === UNKNOWN ? "not known" : short(l.range[0] + (v / LAST) * (l.range[1] - l.range[0])) + " " + l.unit);
        });
        value.textContent = "pixel (" + x + ", " + y + "): " + said.join("; ");
      });
    }

    function draw() {
      const t = Number(slider.value);
      time.textContent = short(scene.times[t]) + " " + scene.time_unit + " (" + (t + 1) + " of " + count + ")";
      for (const layer of layers) {
        const context = layer.canvas.getContext("2d");
        const image = context.createImageData(nx, ny);
        const map = maps[layer.colours];
        const [low, high] = layer.limits, [least, most] = layer.range;
        const gain = (255.999 * (most - least)) / LAST / (high - low || 1);
        const shift = (255.999 * (least - low)) / (high - low || 1);
        for (let k = 0; k < ny * nx; k++) {
          const v = layer.data[t * ny * nx + k];
          if (v === UNKNOWN) continue;
          const at = 3 * Math.max(0, Math.min(255, Math.floor(shift + gain * v)));
          image.data[4 * k] = map[at];
          image.data[4 * k + 1] = map[at + 1];
          image.data[4 * k + 2] = map[at + 2];
          image.data[4 * k + 3] = 255;
        }
        context.putImageData(image, 0, 0);
      }
    }

    let timer = null;
    function stop() {
      clearInterval(timer);
      timer = null;
      play.textContent = "Play";
    }
    function start() {
      stop();
      play.textContent = "Pause";
      timer = setInterval(() => {
        slider.value = (Number(slider.value) + 1) % count;
        draw();
      }, 1000 / Number(speed.value));
    }
    play.addEventListener("click", () => (timer === null ? start() : stop()));
    speed.addEventListener("change", () => timer !== null && start());
    slider.addEventListener("input", draw);
    draw();
    root.dataset.ready = "yes";
  }

  document.querySelectorAll(".player").forEach((root) => build(root));
  window.addEventListener("beforeprint", () =>
    document.querySelectorAll("details").forEach((d) => d.setAttribute("open", "")));
})();
