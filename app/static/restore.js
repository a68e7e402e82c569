// The restore tab: the original over the restored image with a handle between them, or what changed.
(() => {
  "use strict";
  const kept = new Map(); // study: slice, window, share and mode, kept when the element is drawn again

  const bind = (root) => {
    const study = JSON.parse(root.dataset.restore), one = (query) => root.querySelector(query);
    const key = `${study.token}:${study.number}`;
    if (!kept.has(key)) kept.set(key, { slice: study.first, preset: 0, share: 50, mode: "slider" });
    const state = kept.get(key), box = one(".mq-ba"), pair = one(".mq-pair"), change = one(".mq-change");
    const before = one(".mq-before"), after = one(".mq-after");
    box.style.setProperty("--ratio", study.width / (study.height * study.tall));

    const draw = () => {
      const preset = study.presets[state.preset], place = `/medq/study/${study.token}`;
      const window_ = preset ? `&c=${preset.centre}&w=${preset.width}` : "";
      before.src = `${place}/slice/${state.slice}?n=${study.number}${window_}`;
      one("[data-position]").textContent = `${state.slice + 1} / ${study.slices}`;
      one("[data-slice]").value = state.slice;
      if (study.presets.length) one("[data-window]").value = state.preset;
      if (study.alone) return; // the original is all there is
      after.src = `${place}/restored/${state.slice}?n=${study.number}${window_}`;
      const shown = state.mode === "residual";
      if (shown) change.src = `${place}/residual/${state.slice}?n=${study.number}`;
      change.hidden = !shown;
      pair.hidden = shown;
      pair.style.setProperty("--share", `${state.share}%`);
      one("[data-share]").value = state.share;
      root.querySelectorAll("[data-mode]").forEach((button) =>
        button.setAttribute("aria-pressed", String(button.dataset.mode === state.mode)));
    };
    root.addEventListener("input", (event) => {
      if (event.target.matches("[data-slice]")) state.slice = Number(event.target.value);
      else if (event.target.matches("[data-share]")) state.share = Number(event.target.value);
      else if (event.target.matches("[data-window]")) state.preset = Number(event.target.value);
      draw();
    });
    root.addEventListener("click", (event) => {
      const button = event.target.closest("[data-mode]");
      if (button) { state.mode = button.dataset.mode; draw(); }
    });
    box.addEventListener("wheel", (event) => {
      if (study.slices < 2) return;
      event.preventDefault();
      state.slice = Math.max(0, Math.min(study.slices - 1, state.slice + Math.sign(event.deltaY)));
      draw();
    }, { passive: false });
    draw();
  };

  const look = () => document.querySelectorAll("[data-restore]:not([data-ready])").forEach((root) => {
    root.dataset.ready = "1";
    bind(root);
  });
  let due = false;
  new MutationObserver(() => {
    if (due) return;
    due = true;
    requestAnimationFrame(() => { due = false; look(); });
  }).observe(document.documentElement, { childList: true, subtree: true, attributes: true, attributeFilter: ["data-restore"] });
  document.addEventListener("DOMContentLoaded", look);
})();
