/* The toolbar of a page: share, export, look, help; and what belongs to the window.

   Messages to the kernel: {kind: "arrived", query}, once, if the page was opened by a link;
   {kind: "export", what, style, width, step} and {kind: "stop"}. From it: {kind: "opened"},
   {kind: "file", name, mime} with the bytes, {kind: "said", text, fraction, code}. */

const SETTLED = 400; // ms of rest before the address bar follows
const KEYS = [
  ["Space", "play and pause"],
  ["← →", "one step back or forward"],
  ["Home End", "the first and the last step"],
  ["Tab", "to the next control or point"],
  ["arrows on a point", "move it; with Shift ten times as far"],
];
const BADGES = [
  ["✓ holds", "theory and measurement agree within the tolerance"],
  ["✗ fails", "they do not, and that is told too"],
  ["– says nothing here", "the run is outside what the claim assumes"],
];

/* Whether the window is ours, or JupyterLab's. */
const ours = () => document.documentElement.classList.contains("gd");

function make(tag, parent, attributes = {}, text) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  if (text !== undefined) node.textContent = text;
  parent?.append(node);
  return node;
}

/* A button that opens a panel under it; one of them at a time, and Escape closes it. */
function panel(bar, title) {
  const details = make("details", bar, { name: "gd-tools", class: "gd-tool" });
  make("summary", details, {}, title);
  return make("div", details, { class: "gd-panel", role: "group", "aria-label": title });
}

function select(parent, label, options) {
  const field = make("label", parent, { class: "gd-field" }, label);
  const node = make("select", field);
  for (const [value, title] of options) make("option", node, { value }, title);
  return node;
}

function list(parent, title, rows) {
  make("h3", parent, {}, title);
  const terms = make("dl", parent);
  for (const [term, meaning] of rows) {
    make("dt", terms, {}, term);
    make("dd", terms, {}, meaning);
  }
}

class Toolbar {
  constructor(model, element) {
    this.model = model;
    this.bar = make("div", element, { class: "gd gd-bar", role: "group", "aria-label": "page" });
    this.share();
    this.export();
    this.looks();
    const help = panel(this.bar, "Help");
    list(help, "Keys, with the figure in focus", KEYS);
    list(help, "What a claim's badge says", BADGES);
    this.listen();
    this.nameSliders();
    this.arrive();
  }

  /* Jupyter's sliders say neither their name nor their value to a screen reader. */
  nameSliders() {
    const name = (handle) => {
      const slider = handle.closest(".widget-slider");
      const say = (attribute, selector) => {
        const text = slider?.querySelector(selector)?.textContent;
        if (text && handle.getAttribute(attribute) !== text) handle.setAttribute(attribute, text);
      };
      say("aria-label", ".widget-label");
      say("aria-valuetext", ".widget-readout");
    };
    const all = () => document.querySelectorAll(".gd-page .noUi-handle").forEach(name);
    let soon = 0;
    const observer = new MutationObserver(() => {
      cancelAnimationFrame(soon);
      soon = requestAnimationFrame(all);
    });
    const what = { subtree: true, childList: true, attributeFilter: ["aria-valuenow"] };
    observer.observe(document.body, what);
    this.forgetSliders = () => observer.disconnect();
  }

  // ---- share

  share() {
    const here = panel(this.bar, "Share");
    this.sharing = here.parentElement;
    make("p", here, {}, "This address opens the page as it is now: same settings, same step.");
    this.address = make("input", here, { type: "text", readonly: "", "aria-label": "link" });
    this.copied = make("p", here, { class: "gd-quiet", role: "status" });
    const copy = make("button", here, { type: "button", class: "gd-go" }, "Copy");
    copy.addEventListener("click", () => this.copy(this.address.value, this.copied));
    this.sharing.addEventListener("toggle", () => {
      if (!this.sharing.open) return;
      this.showAddress();
      this.address.select();
      this.copied.textContent = "";
    });
  }

  showAddress() {
    this.address.value = this.permalink();
  }

  /* The step on show, if it is not the one that the figure starts with. */
  step() {
    const stage = [...document.querySelectorAll(".gd-stage[data-frame]")].find(
      (node) => node.offsetParent,
    );
    return stage && stage.dataset.frame !== stage.dataset.start ? +stage.dataset.frame : null;
  }

  /* The address of what is shown; in JupyterLab the line of a cell. */
  permalink() {
    const step = this.step();
    const query = this.model.get("link") + (step === null ? "" : `&step=${step}`);
    if (!ours()) return `show("${this.model.get("lab")}?${query}")`;
    return `${location.origin}${location.pathname}?${query}`;
  }

  async copy(text, status) {
    try {
      await navigator.clipboard.writeText(text);
      status.textContent = "Copied.";
    } catch {
      status.textContent = "Press Ctrl+C (⌘C) to copy.";
      status.parentElement.querySelector("input, textarea")?.select();
    }
  }

  /* Keep the open panel true, and the address bar, so that a reload brings everything back. */
  follow() {
    clearTimeout(this.soon);
    if (this.sharing.open) this.showAddress();
    if (!ours()) return;
    this.soon = setTimeout(() => {
      const now = this.permalink();
      if (location.search || now !== this.first) history.replaceState(history.state, "", now);
    }, SETTLED);
  }

  // ---- export

  export() {
    const here = panel(this.bar, "Export");
    const exports = this.model.get("exports");
    const what = select(here, "What", exports);
    const style = select(here, "Style", this.model.get("styles").map((name) => [name, name]));
    const width = select(here, "Size", this.model.get("widths"));
    const looks = () => {
      const drawn = exports.find(([name]) => name === what.value)?.[2];
      for (const node of [style, width]) node.parentElement.hidden = !drawn;
    };
    what.addEventListener("change", looks);
    looks();
    const go = make("button", here, { type: "button", class: "gd-go" }, "Make");
    this.said = make("p", here, { class: "gd-quiet", role: "status" });
    this.progress = make("progress", here, { max: 1, hidden: "", "aria-label": "progress" });
    this.stop = make("button", here, { type: "button", hidden: "" }, "Stop");
    this.code = make("textarea", here, { readonly: "", rows: 12, hidden: "", "aria-label": "Python" });
    go.addEventListener("click", () => {
      this.hearSaid({ text: "Making it." });
      this.model.send({
        kind: "export",
        what: what.value,
        style: style.value,
        width: width.value,
        step: this.step(),
      });
    });
    this.stop.addEventListener("click", () => this.model.send({ kind: "stop" }));
  }

  hearSaid({ text, fraction, code }) {
    this.said.textContent = text;
    this.progress.hidden = this.stop.hidden = fraction === undefined;
    if (fraction !== undefined) this.progress.value = fraction;
    this.code.hidden = code === undefined;
    if (code === undefined) return;
    this.code.value = code;
    this.copy(code, this.said);
  }

  hearFile({ name, mime }, [data]) {
    const url = URL.createObjectURL(new Blob([data], { type: mime }));
    make("a", null, { href: url, download: name }).click();
    setTimeout(() => URL.revokeObjectURL(url), 60_000);
    this.hearSaid({ text: `${name} is saved.` });
  }

  // ---- look

  looks() {
    const here = panel(this.bar, "Look");
    const theme = make("fieldset", here);
    make("legend", theme, {}, "Theme");
    for (const [value, title] of [
      ["", "As the system"],
      ["light", "Light"],
      ["dark", "Dark"],
    ]) {
      const field = make("label", theme);
      const node = make("input", field, { type: "radio", name: "gd-theme", value });
      field.append(title);
      node.addEventListener("change", () => this.dress("theme", value));
    }
    theme.hidden = !ours(); // JupyterLab has a theme of its own
    const field = make("label", here, { class: "gd-check" });
    this.projector = make("input", field, { type: "checkbox" });
    field.append("Projector: larger, fewer controls");
    this.projector.addEventListener("change", () =>
      this.dress("look", this.projector.checked ? "projector" : ""),
    );
    const asked = this.model.get("look");
    this.dress("theme", localStorage.getItem("gd-theme") ?? "", false);
    this.dress("look", localStorage.getItem("gd-look") ?? "", false);
    if (asked) this.ask(asked);
  }

  /* A link's look holds for this page; a reader's own choice is kept. */
  ask(look) {
    this.dress(look === "projector" ? "look" : "theme", look, false);
  }

  dress(what, value, keep = true) {
    const { dataset } = document.documentElement;
    const name = what === "theme" ? "gdTheme" : "gdLook";
    if (value) dataset[name] = value;
    else delete dataset[name];
    if (keep) localStorage.setItem(`gd-${what}`, value);
    if (what === "look") this.projector.checked = value === "projector";
    else
      for (const node of this.bar.querySelectorAll("[name='gd-theme']"))
        node.checked = node.value === value;
  }

  // ---- the window

  listen() {
    const undo = [];
    const on = (target, name, act) => {
      target.addEventListener(name, act);
      undo.push(() => target.removeEventListener(name, act));
    };
    const follow = (name, act) => {
      this.model.on(name, act);
      undo.push(() => this.model.off(name, act));
    };
    follow("change:link", () => this.follow());
    follow("change:look", () => this.model.get("look") && this.ask(this.model.get("look")));
    follow("msg:custom", (message, buffers) => {
      if (message.kind === "opened") {
        this.bar.classList.add("gd-opened");
        this.follow();
      } else if (message.kind === "file") this.hearFile(message, buffers);
      else if (message.kind === "said") this.hearSaid(message);
    });
    on(document, "gd-step", () => this.follow());
    on(document, "pointerdown", (event) => {
      if (!this.bar.contains(event.target)) this.close();
    });
    on(this.bar, "keydown", (event) => {
      if (event.key !== "Escape") return;
      const open = this.bar.querySelector("details[open]");
      this.close();
      open?.querySelector("summary").focus();
    });
    this.destroy = () => {
      undo.forEach((act) => act());
      clearTimeout(this.soon);
      this.forgetSliders();
      this.bar.remove();
    };
  }

  close() {
    for (const open of this.bar.querySelectorAll("details[open]")) open.open = false;
  }

  arrive() {
    if (ours() && location.search) {
      this.model.send({ kind: "arrived", query: location.search.slice(1) });
    } else {
      this.bar.classList.add("gd-opened");
      this.first = this.permalink(); // what the plain address opens, so that it stays plain
    }
  }
}

export default {
  render({ model, el }) {
    const toolbar = new Toolbar(model, el);
    return () => toolbar.destroy();
  },
};
