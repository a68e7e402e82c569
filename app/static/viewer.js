// The viewer: asks the server for windowed slices of a study and draws boxes and heat maps over them.
// It keeps no image but the few around the one shown, and stores nothing in the browser.
(() => {
  "use strict";
  const AHEAD = 4, KEPT = 48, HOVER_MS = 40, DRAG_MS = 30;
  const remembered = new Map(); // viewer and token: slice, zoom, toggles; each series opens as it was left there
  const windows = new Map(); // token: window and preset of a series, the same in every viewer
  const viewers = {}; // by the name of their place: main, a, b
  const shape = (tag, attributes) => {
    const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
    return element;
  };
  const text = (value) => (Math.abs(value) >= 100 ? value.toFixed(0) : Number(value.toPrecision(3)).toString());

  class Viewer {
    constructor(root) {
      this.root = root;
      this.study = null;
      this.images = new Map();
      const one = (selector) => root.querySelector(selector);
      this.stage = one(".mq-stage"); this.wrap = one(".mq-wrap"); this.slice = one(".mq-slice");
      this.heat = one(".mq-heat"); this.boxes = one(".mq-boxes"); this.slider = one("[data-slider]");
      this.strip = one(".mq-strip"); this.preset = one("[data-preset]");
      this.centre = one("[data-centre]"); this.width = one("[data-width]");
      this.stage.addEventListener("wheel", (event) => this.onWheel(event), { passive: false });
      this.stage.addEventListener("keydown", (event) => this.onKey(event));
      this.stage.addEventListener("pointerdown", (event) => this.onDown(event));
      this.stage.addEventListener("pointermove", (event) => this.onHover(event));
      this.stage.addEventListener("pointerleave", () => { this.pointer = null; this.corner("br", ""); });
      this.stage.addEventListener("contextmenu", (event) => event.preventDefault());
      this.stage.addEventListener("dblclick", () => this.fit());
      this.slider.addEventListener("input", () => this.go(Number(this.slider.value)));
      this.preset.addEventListener("change", () => this.usePreset(Number(this.preset.value)));
      for (const field of [this.centre, this.width]) field.addEventListener("change", () => this.byHand());
      root.querySelectorAll("[data-zoom]").forEach((button) => button.addEventListener("click", () => {
        if (button.dataset.zoom === "fit") this.fit(); else this.zoomBy(button.dataset.zoom === "in" ? 1.25 : 0.8);
      }));
      root.querySelectorAll("[data-toggle]").forEach((button) =>
        button.addEventListener("click", () => this.toggle(button.dataset.toggle)));
      one("[data-worst]").addEventListener("click", () => this.worst());
      this.strip.addEventListener("click", (event) => {
        const bar = event.target.closest("[data-slice]");
        if (bar) this.go(Number(bar.dataset.slice));
      });
      new ResizeObserver(() => {
        this.place();
        if (this.study && this.stage.clientWidth) this.refresh(); // another viewer may have changed the window
      }).observe(this.stage);
      this.show(null);
    }

    key(study) { return `${this.root.dataset.viewer}:${study.token}`; }

    get state() { return remembered.get(this.key(this.study)); }

    get window() { return windows.get(this.study.token); }

    show(study) {
      const same = study && this.study && study.token === this.study.token;
      this.study = study;
      this.root.classList.toggle("empty", !study);
      if (!study) { this.slice.removeAttribute("src"); this.drawBoxes(); return; }
      if (!remembered.has(this.key(study))) {
        remembered.set(this.key(study), { index: Math.floor(study.slices / 2), boxes: true, heat: false, finding: null,
          zoom: 1, x: 0, y: 0 });
      }
      const first = study.presets[0];
      if (!windows.has(study.token))
        windows.set(study.token, { range: first ? [first.centre, first.width] : null, preset: 0 });
      if (study.scores.length && !this.state.scored) {
        this.state.scored = true;
        if (study.findings.length) this.state.finding = 0;
        if (study.findings.length && !this.state.moved) this.toFinding(); // nobody is taken away from what they read
      }
      if (this.state.finding !== null && this.state.finding >= study.findings.length) this.state.finding = null;
      if (!same) this.images.clear();
      this.preset.replaceChildren(...study.presets.map((preset, n) => new Option(preset.name, n)), new Option("by hand", -1));
      this.root.classList.toggle("colour", study.colour);
      this.slider.max = study.slices - 1;
      this.root.classList.toggle("single", study.slices === 1);
      for (const [n, side] of ["left", "right", "top", "bottom"].entries())
        this.root.querySelector(`.mq-edge.${side}`).textContent = study.edges[n] || "";
      this.drawStrip();
      this.refresh();
      this.place();
    }

    url(index) {
      const { range } = this.window;
      const query = range ? `?c=${range[0]}&w=${range[1]}` : "";
      return `/medq/study/${this.study.token}/slice/${index}${query}`;
    }

    image(index) {
      const url = this.url(index);
      let image = this.images.get(url);
      if (!image) {
        image = new Image();
        image.src = url;
        this.images.set(url, image);
        while (this.images.size > KEPT) this.images.delete(this.images.keys().next().value);
      }
      return image;
    }

    refresh() {
      const { study, state } = this;
      const image = this.image(state.index), url = image.src;
      this.wanted = url;
      const place = `${study.token}:${state.index}`;
      if (this.valued !== place) { this.valued = place; this.corner("br", ""); } // the value was another slice's
      if (this.pointer) this.onHover(this.pointer);
      const shown = () => {
        if (this.wanted !== url) return;
        this.slice.src = url;
        this.root.dataset.shown = `${study.token}:${state.index}`;
        this.root.classList.remove("gone");
        for (let step = 1; step <= AHEAD; step++)
          for (const next of [state.index + step, state.index - step])
            if (next >= 0 && next < study.slices) this.image(next);
      };
      if (image.complete && image.naturalWidth) shown();
      else { image.onload = shown; image.onerror = () => { if (this.wanted === url) this.root.classList.add("gone"); }; }
      this.slider.value = state.index;
      this.slider.setAttribute("aria-valuetext", `${study.plane} ${state.index + 1} of ${study.slices}`);
      this.root.querySelector("[data-position]").textContent = `${state.index + 1} / ${study.slices}`;
      const { range, preset } = this.window;
      if (range) { this.centre.value = text(range[0]); this.width.value = text(range[1]); }
      this.preset.value = preset;
      for (const button of this.root.querySelectorAll("[data-toggle]")) {
        button.disabled = study.findings.length === 0; // nothing to mark
        button.setAttribute("aria-pressed", state[button.dataset.toggle] && !button.disabled);
      }
      const score = study.scores[state.index];
      this.corner("tl", study.name + (study.slices > 1 ? `\n${study.plane} ${state.index + 1} of ${study.slices}` : "") +
        (score === undefined ? "" : `\nscore ${study.said[state.index][0]} of 4`));
      this.corner("tr", `${study.view}\n${study.width} × ${study.height}`.trim());
      this.cornerWindow();
      this.drawBoxes();
      this.drawHeat();
      this.strip.querySelectorAll("[data-slice]").forEach((bar) =>
        bar.classList.toggle("on", Number(bar.dataset.slice) === state.index));
    }

    cornerWindow() {
      const { range } = this.window;
      const shown = range ? `C ${text(range[0])}  W ${text(range[1])} ${this.study.unit}\n` : "";
      this.corner("bl", `${shown}zoom ${Math.round(100 * this.scale())} %`);
    }

    corner(place, words) { this.root.querySelector(`.mq-corner.${place}`).textContent = words; }

    base() {
      const { study, stage } = this;
      return Math.min(stage.clientWidth / study.width, stage.clientHeight / (study.height * study.tall));
    }

    scale() { return this.base() * this.state.zoom; }

    place() {
      if (!this.study || !this.stage.clientWidth) return;
      const { study, state, stage } = this;
      const w = study.width * this.scale(), h = study.height * study.tall * this.scale();
      Object.assign(this.wrap.style, { width: `${w}px`, height: `${h}px`,
        left: `${(stage.clientWidth - w) / 2 + state.x}px`, top: `${(stage.clientHeight - h) / 2 + state.y}px` });
      this.wrap.classList.toggle("large", this.scale() > 2);
      this.cornerWindow();
    }

    zoomBy(factor) {
      if (!this.study) return;
      const { state } = this, before = state.zoom;
      state.zoom = Math.min(20, Math.max(0.5, before * factor));
      state.x *= state.zoom / before; state.y *= state.zoom / before;
      this.place();
      this.tell("zoom");
    }

    fit() {
      if (!this.study) return;
      Object.assign(this.state, { zoom: 1, x: 0, y: 0 });
      this.place();
      this.tell("zoom");
    }

    go(index, quiet = false) {
      if (!this.study) return;
      const next = Math.max(0, Math.min(this.study.slices - 1, index));
      if (next === this.state.index) return;
      this.state.index = next;
      this.state.moved = true;
      this.refresh();
      if (!quiet) this.tell("slice");
    }

    // The two viewers of the compare tab scroll and zoom together: by share of the series, not by number.
    tell(what) {
      const other = { a: viewers.b, b: viewers.a }[this.root.dataset.viewer];
      if (!other || !other.study) return;
      if (what === "slice") {
        const share = this.state.index / Math.max(1, this.study.slices - 1);
        other.go(Math.round(share * (other.study.slices - 1)), true);
      } else {
        Object.assign(other.state, { zoom: this.state.zoom, x: this.state.x, y: this.state.y });
        other.place();
      }
    }

    worst() { if (this.study && this.study.worst !== null) this.go(this.study.worst); }

    toggle(name) {
      if (!this.study) return;
      this.state[name] = !this.state[name];
      this.refresh();
    }

    usePreset(number) {
      const preset = this.study && this.study.presets[number];
      if (!preset) return;
      windows.set(this.study.token, { range: [preset.centre, preset.width], preset: number });
      this.refresh();
    }

    byHand() {
      const centre = Number(this.centre.value), width = Number(this.width.value);
      if (this.study && Number.isFinite(centre) && width > 0)
        windows.set(this.study.token, { range: [centre, width], preset: -1 });
      if (this.study) this.refresh();
    }

    finding(number) {
      if (!this.study) return;
      this.state.finding = number;
      this.state.boxes = true;
      if (!this.study.findings[number].box) this.state.heat = true;  // what has no box lies everywhere: the map says where most
      this.toFinding();
      this.refresh();
    }

    toFinding() {
      const { study, state } = this, span = study.findings[state.finding].slices;
      if (!span) return;
      let best = span[0];
      for (let n = span[0]; n <= span[1]; n++) if (study.scores[n] < study.scores[best]) best = n;
      state.index = best;
    }

    drawBoxes() {
      this.boxes.replaceChildren();
      if (!this.study) return;
      const { study, state } = this;
      this.boxes.setAttribute("viewBox", `0 0 ${study.width} ${study.height}`);
      this.boxes.setAttribute("preserveAspectRatio", "none");
      if (!state.boxes) return;
      study.findings.forEach((finding, n) => {
        if (!finding.box || (finding.slices && (state.index < finding.slices[0] || state.index > finding.slices[1]))) return;
        const [x0, y0, x1, y1] = finding.box, size = Math.max(study.width, study.height) / 28;
        const group = shape("g", { class: `${finding.severity}${n === state.finding ? " on" : ""}` });
        group.append(shape("rect", { x: x0, y: y0, width: x1 - x0, height: y1 - y0 }));
        const label = shape("text", { x: x0 + size / 4, y: Math.max(size, y0 - size / 4), "font-size": size });
        label.textContent = `${n + 1}`;
        group.append(label);
        this.boxes.append(group);
      });
    }

    drawHeat() {
      const { study, state } = this, finding = study.findings[state.finding ?? 0];
      const wanted = state.heat && finding ? `/medq/study/${study.token}/heat/${state.index}?kind=${finding.kind}` : "";
      if (wanted === this.heatUrl) return;
      this.heatUrl = wanted;
      this.heat.removeAttribute("src");
      this.root.classList.toggle("loading", Boolean(wanted));
      clearTimeout(this.heatTimer);
      // a heat map takes the model half a second: not while the wheel still turns
      if (wanted) this.heatTimer = setTimeout(() => {
        this.heat.onload = this.heat.onerror = () => this.root.classList.remove("loading");
        this.heat.src = wanted;
      }, 150);
    }

    drawStrip() {
      const { study } = this;
      this.strip.replaceChildren();
      if (study.slices < 2) return;
      for (let n = 0; n < study.slices; n++) {
        const score = study.scores[n], bar = document.createElement("button");
        bar.type = "button"; bar.tabIndex = -1; bar.dataset.slice = n;
        bar.title = `${study.plane} ${n + 1}` + (score === undefined ? "" : `: score ${study.said[n][0]}`);
        if (score !== undefined) {
          bar.className = study.said[n][1];
          bar.style.setProperty("--h", `${Math.max(4, 25 * score)}%`);
        }
        if (n === study.worst) bar.classList.add("worst");
        this.strip.append(bar);
      }
    }

    onWheel(event) {
      if (!this.study) return;
      event.preventDefault();
      if (event.ctrlKey || this.study.slices === 1) this.zoomBy(event.deltaY < 0 ? 1.12 : 0.893);
      else this.go(this.state.index + Math.sign(event.deltaY));
    }

    onKey(event) {
      if (!this.study || event.altKey || event.ctrlKey || event.metaKey) return;
      const index = this.state.index;
      const actions = {
        ArrowUp: () => this.go(index - 1), ArrowLeft: () => this.go(index - 1), ArrowDown: () => this.go(index + 1),
        ArrowRight: () => this.go(index + 1), PageUp: () => this.go(index - 10), PageDown: () => this.go(index + 10),
        Home: () => this.go(0), End: () => this.go(this.study.slices - 1), "+": () => this.zoomBy(1.25),
        "=": () => this.zoomBy(1.25), "-": () => this.zoomBy(0.8), 0: () => this.fit(), h: () => this.toggle("heat"),
        b: () => this.toggle("boxes"), x: () => this.worst(),
      };
      const action = actions[event.key] || (/^[1-9]$/.test(event.key) && (() => this.usePreset(event.key - 1)));
      if (action) { event.preventDefault(); action(); }
    }

    onDown(event) {
      if (!this.study) return;
      const { state } = this, begin = { x: event.clientX, y: event.clientY, at: { ...state }, range: this.window.range };
      const windowing = begin.range && (event.shiftKey || event.button === 2);
      let last = 0;
      this.stage.setPointerCapture(event.pointerId);
      const move = (next) => {
        const dx = next.clientX - begin.x, dy = next.clientY - begin.y;
        if (windowing) {
          const [centre, width] = begin.range;
          const range = [centre - (dy * width) / 300, Math.max(width / 100, width * (1 + dx / 300))];
          windows.set(this.study.token, { range, preset: -1 });
          if (performance.now() - last > DRAG_MS) { last = performance.now(); this.refresh(); }
        } else { state.x = begin.at.x + dx; state.y = begin.at.y + dy; this.place(); this.tell("zoom"); }
      };
      const end = () => {
        this.stage.removeEventListener("pointermove", move);
        if (windowing) this.refresh();
      };
      this.stage.addEventListener("pointermove", move);
      this.stage.addEventListener("pointerup", end, { once: true });
      this.stage.addEventListener("pointercancel", end, { once: true });
    }

    onHover(event) {
      if (!this.study || event.buttons) return;
      this.pointer = { clientX: event.clientX, clientY: event.clientY };
      const box = this.wrap.getBoundingClientRect();
      const x = Math.floor(((event.clientX - box.left) / box.width) * this.study.width);
      const y = Math.floor(((event.clientY - box.top) / box.height) * this.study.height);
      clearTimeout(this.hover);
      if (x < 0 || y < 0 || x >= this.study.width || y >= this.study.height) return this.corner("br", "");
      const { token } = this.study, { index } = this.state;
      this.hover = setTimeout(async () => {
        const answer = await fetch(`/medq/study/${token}/value/${index}?x=${x}&y=${y}`).catch(() => null);
        if (answer && answer.ok && this.study && this.study.token === token && this.state.index === index && this.pointer)
          this.corner("br", `x ${x}  y ${y}\n${await answer.text()}`);
      }, HOVER_MS);
    }
  }

  window.medq = { Viewer, viewers };
})();
