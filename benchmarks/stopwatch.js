/* A stopwatch in the page: from the event that changes a control to the new pixels.

   Added to every page before its own scripts. It stops at the end of the first frame that has
   the new picture in it: a message posted from requestAnimationFrame is handled once that frame
   has been rendered. */

{
  const PATIENCE = 20_000; // ms, for an answer
  const START = 40_000; // ms, for a page; a plain Voilà now and then misses the end of a cell
  const count = { sent: 0, images: 0 };

  const { send } = WebSocket.prototype;
  WebSocket.prototype.send = function (...message) {
    count.sent += 1;
    return send.apply(this, message);
  };

  // ipympl copies each picture, once it is decoded, to the canvas in the page
  const { drawImage } = CanvasRenderingContext2D.prototype;
  CanvasRenderingContext2D.prototype.drawImage = function (...image) {
    if (this.canvas.isConnected) count.images += 1;
    return drawImage.apply(this, image);
  };

  const one = (selector) => document.querySelector(selector);
  const labelled = (kind, label) =>
    [...document.querySelectorAll(kind)].find((widget) =>
      widget.querySelector(".widget-label")?.textContent.startsWith(label),
    );
  const slider = () =>
    [...document.querySelectorAll(".gd-control [role=slider]")].find((node) => node.offsetParent);
  const scrubber = () => labelled(".widget-slider", "Step")?.querySelector(".noUi-handle");

  /* For each contestant: what takes the arrow keys; what is on show, something else for each
     new picture and undefined before the first; and whether the picture of a setting has
     arrived. gdviz repaints for other reasons too, so there the legend must say so. */
  const contestants = {
    gdviz: {
      scrubber: () => one(".gd-scrubber"),
      shown: () => one(".gd-stage")?.dataset.drawn,
      arrived: (value) => one(".gd-stage").textContent.includes(`γ = ${value}`),
    },
    inline: {
      scrubber,
      shown: () => [...document.querySelectorAll("img")].findLast((image) => image.naturalWidth),
    },
    ipympl: { scrubber, shown: () => count.images || undefined },
  };

  const sleep = (ms) => new Promise((done) => setTimeout(done, ms));

  /* The time at the end of the first frame that begins with `arrived` and ends with `painted`;
     null if there is none. */
  const frameWith = (arrived, painted = arrived, patience = PATIENCE) =>
    new Promise((done) => {
      const end = performance.now() + patience;
      const { port1, port2 } = new MessageChannel();
      const frame = () => port2.postMessage(Boolean(arrived()));
      port1.onmessage = ({ data }) => {
        if (data && painted()) done(performance.now());
        else if (performance.now() > end) done(null);
        else requestAnimationFrame(frame);
      };
      requestAnimationFrame(frame);
    });

  /* Milliseconds from `act`, at a random moment of a frame, to the new picture; null if lost. */
  async function time(who, act, said) {
    const { shown } = contestants[who];
    await sleep(50 * Math.random());
    const before = shown();
    const fresh = () => shown() !== before;
    const start = performance.now();
    act();
    const end = await frameWith(said ?? fresh, fresh);
    return end && end - start;
  }

  window.stopwatch = {
    count,
    /* Press an arrow key on the control of the step. */
    scrub(who, key) {
      const press = new KeyboardEvent("keydown", { key, bubbles: true });
      const said = who === "gdviz" ? () => true : undefined; // it has all that it needs
      return time(who, () => contestants[who].scrubber().dispatchEvent(press), said);
    },
    /* Move the first slider that can be seen by one stop, to and fro between its ends. */
    slide(who) {
      const at = slider().getAttribute("aria-valuenow");
      if (at === slider().getAttribute("aria-valuemax")) this.back = true;
      if (at === slider().getAttribute("aria-valuemin")) this.back = false;
      const press = new KeyboardEvent("keydown", {
        key: this.back ? "ArrowLeft" : "ArrowRight",
        bubbles: true,
      });
      return time(who, () => slider().dispatchEvent(press));
    },
    /* Type three step sizes, the largest being `value`. */
    change(who, value) {
      const input = labelled(".widget-text", "Step sizes").querySelector("input");
      const { arrived } = contestants[who];
      const act = () => {
        input.value = `${value / 100}, ${value / 10}, ${value}`;
        input.dispatchEvent(new Event("change", { bubbles: true }));
      };
      return time(who, act, arrived && (() => arrived(value)));
    },
    /* Milliseconds that the kernel says it computed for the last change. */
    computed() {
      const [, value, unit] = document.body.textContent.match(/computed in ([\d.]+) (m?s)/);
      return value * { ms: 1, s: 1000 }[unit];
    },
    /* Milliseconds from the request for this page to its first picture, to the first that is
       alive, and to the answer to a change; null if one of them never came. The change is to
       three step sizes, the largest being `value`, or without it a slider's. */
    async open(who, value) {
      const still = () => one("#gd-cover svg")?.clientWidth > 0;
      const live = () => contestants[who].shown() !== undefined;
      const some = () => still() || live();
      const control = () => (value ? labelled(".widget-text", "Step sizes") : slider());
      const usable = () => live() && control();
      const first = await frameWith(some, some, START);
      const ready = await frameWith(usable, live, START);
      const changed = ready && (await (value ? this.change(who, value) : this.slide(who)));
      return changed && { first, ready, answer: performance.now() };
    },
    /* Milliseconds from frame to frame, on a page that does nothing. */
    async frame() {
      const start = await frameWith(() => true);
      for (let i = 0; i < 30; i++) await frameWith(() => true);
      return (performance.now() - start) / 30;
    },
  };
}
