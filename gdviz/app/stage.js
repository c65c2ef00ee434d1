/* The stage: draws a scene (gdviz/scene.py) and lets people scrub, read off and drag it.

   Marks are painted on one canvas per panel, text is SVG and HTML. Playing and scrubbing
   never ask the kernel; the messages that leave are {kind: "ready"}, once,
   and {kind: "drag", setting, row, x, y}.
   A new scene is painted as it comes, so that the next frame has it; everything else is painted
   inside requestAnimationFrame, at most once per frame. */

const POINT = 4 / 3; // CSS pixels in a typographic point, at scale 1
const NEAR = 24; // px within which the pointer reads a mark
const NARROW = 640; // px below which the panels stand in one column
const GAP = 16; // px between panels beside each other
const RATE = 20; // frames per second at speed 1
const SETTLED = 1000; // ms after which the scene is right about a dragged point
const LINE_HEIGHT = 1.25;
const BAR = 26; // px for a colour bar and the gap before it
const SVG = "http://www.w3.org/2000/svg";

// ------------------------------------------------------------------ small helpers

const clamp = (value, low, high) => Math.min(Math.max(value, low), high);

const distinct = (values) => [...new Set(values)].sort((a, b) => a - b);

function html(tag, className, parent, attributes = {}) {
  const node = document.createElement(tag);
  node.className = className;
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  parent?.append(node);
  return node;
}

const said = new WeakMap(); // attributes and text that `say` has given to a node

/* Give a node these attributes and no others, and this text; what it has is not set again. */
function say(node, attributes, text) {
  const [before, words] = said.get(node) ?? [{}, node.textContent];
  for (const name of Object.keys(before)) {
    if (!(name in attributes)) node.removeAttribute(name);
  }
  for (const [name, value] of Object.entries(attributes)) {
    if (before[name] !== value) node.setAttribute(name, value);
  }
  if (text !== undefined && text !== words) node.textContent = text;
  said.set(node, [attributes, text]);
}

/* Make the children of an SVG group be `specs`, [tag, attributes, text], re-using nodes. */
function fill(group, specs) {
  specs.forEach(([tag, attributes, text], i) => {
    let node = group.children[i];
    if (node?.tagName !== tag) {
      const fresh = document.createElementNS(SVG, tag);
      if (node) node.replaceWith(fresh);
      else group.append(fresh);
      node = fresh;
    }
    say(node, attributes, text);
  });
  while (group.children.length > specs.length) group.lastChild.remove();
}

/* "c0 0.4" as a CSS colour that follows the theme. */
function css(colour) {
  if (!colour) return "none";
  const [name, opacity] = colour.split(" ");
  const base = name[0] === "#" ? name : `var(--gd-${name})`;
  return opacity ? `color-mix(in srgb, ${base} ${100 * opacity}%, transparent)` : base;
}

/* 255 pixels along a row of colours "rgb(r, g, b)", and one without colour. */
function between(colours) {
  const stops = colours.map((colour) => colour.match(/[\d.]+/g).map(Number));
  const pixels = new Uint8ClampedArray(4 * 256);
  for (let i = 0; i < 255; i++) {
    const place = (i / 254) * (stops.length - 1);
    const k = Math.min(Math.floor(place), stops.length - 2);
    for (let c = 0; c < 3; c++)
      pixels[4 * i + c] = stops[k][c] + (place - k) * (stops[k + 1][c] - stops[k][c]);
    pixels[4 * i + 3] = 255;
  }
  return new Uint32Array(pixels.buffer);
}

const RAISED = Object.fromEntries([..."0123456789-"].map((c, i) => [c, [..."⁰¹²³⁴⁵⁶⁷⁸⁹⁻"][i]]));

function scientific(value) {
  const [digits, power] = value.toExponential(2).split("e");
  return `${digits}×10${[...String(+power)].map((c) => RAISED[c]).join("")}`;
}

/* A whole number as people read it: 4000, 10 000, 1 000 000 (the spaces do not break). */
const grouped = (n) => (n < 1e4 ? `${n}` : n.toLocaleString("en").replaceAll(",", "\u00a0"));

/* A value as precise as a pixel of its axis. */
function number(value, axis) {
  const size = Math.abs(value);
  const range = Math.abs(axis.limits[1] - axis.limits[0]);
  let text;
  if (value === 0) text = "0";
  else if (size >= 1e6 || size < 1e-4) text = size < range * 1e-6 ? "0" : scientific(value);
  else if (axis.scale !== "linear") text = String(+value.toPrecision(3));
  else text = value.toFixed(clamp(Math.ceil(-Math.log10(range / 200)), 0, 8));
  return text.replace("-", "−");
}

/* A dragged value without noise digits: a ten-thousandth of the range is enough. */
function tidy(value, axis) {
  if (axis.scale !== "linear") return +value.toPrecision(4);
  const digits = 4 - Math.ceil(Math.log10(Math.abs(axis.limits[1] - axis.limits[0])));
  return +value.toFixed(clamp(digits, 0, 12));
}

// ------------------------------------------------------------------ scene and scales

/* A scene with its bytes as typed arrays. */
class Scene {
  constructor(plain) {
    Object.assign(this, plain);
    const { buffer, byteOffset, byteLength } = plain.data;
    this.buffer = buffer.slice(byteOffset, byteOffset + byteLength); // aligned for Float32Array
    this.paths = plain.shapes.map((shape) => new Path2D(shape));
    this.pictures = new Map();
  }

  floats([offset, count, frames], frame) {
    return new Float32Array(this.buffer, offset + 4 * count * Math.min(frame, frames - 1), count);
  }

  bytes(offset, count) {
    return new Uint8Array(this.buffer, offset, count);
  }

  /* How many vertices of a line are drawn at `frame`. */
  shown(mark, frame, count) {
    return mark.reveal ? Math.min(count, this.floats(mark.reveal, frame)[0]) : count;
  }

  /* An image mark at `frame` as a small canvas, a pixel a value; between the colours of `ramp`. */
  picture(mark, frame, ramp) {
    const [frames, rows, columns] = mark.shape;
    const at = Math.min(frame, frames - 1);
    const kept = this.pictures.get(mark);
    if (kept?.at === at && kept.ramp === `${ramp}`) return kept.canvas;
    const canvas =
      kept?.canvas ??
      Object.assign(document.createElement("canvas"), { width: columns, height: rows });
    const colours = ramp ? between(ramp) : new Uint32Array(this.buffer, mark.table, 256);
    const pixels = this.bytes(mark.pixels + at * rows * columns, rows * columns);
    const image = new ImageData(columns, rows);
    const words = new Uint32Array(image.data.buffer);
    for (let i = 0; i < pixels.length; i++) words[i] = colours[pixels[i]];
    canvas.getContext("2d").putImageData(image, 0, 0);
    this.pictures.set(mark, { at, ramp: `${ramp}`, canvas });
    return canvas;
  }
}

/* Scale to [forward, back], as matplotlib has them. */
const SCALES = {
  linear: () => [(v) => v, (u) => u],
  log: () => [(v) => (v > 0 ? Math.log10(v) : v <= 0 ? -1000 : NaN), (u) => 10 ** u],
  symlog: ({ base, linthresh, linscale }) => {
    const core = linscale / (1 - 1 / base);
    const log = Math.log(base);
    return [
      (v) =>
        Math.abs(v) <= linthresh
          ? v * core
          : Math.sign(v) * linthresh * (core + Math.log(Math.abs(v) / linthresh) / log),
      (u) =>
        Math.abs(u) <= linthresh * core
          ? u / core
          : Math.sign(u) * linthresh * base ** (Math.abs(u) / linthresh - core),
    ];
  },
};

/* Value to pixel and back, along one axis from pixel `from` to pixel `to`. */
function ruler(axis, from, to) {
  const [forward, back] = SCALES[axis.scale](axis);
  const [low, high] = axis.limits.map(forward);
  const slope = (to - from) / (high - low || 1);
  return {
    // canvases dislike huge coordinates
    px: (value) => clamp(from + (forward(value) - low) * slope, -1e5, 1e5),
    value: (px) => back(low + (px - from) / slope),
    share: (fraction) => from + fraction * (to - from),
  };
}

// ------------------------------------------------------------------ one panel

/* A panel: one axes, with its twins on it and its colour bars beside it. */
class Panel {
  constructor(stage) {
    this.stage = stage;
    this.head = html("div", "gd-head", stage.grid);
    this.plot = html("div", "gd-plot", stage.grid);
    this.canvas = html("canvas", "gd-canvas", this.plot, { "aria-hidden": "true" });
    this.context = this.canvas.getContext("2d");
    this.svg = document.createElementNS(SVG, "svg");
    this.svg.setAttribute("class", "gd-text");
    this.plot.append(this.svg);
    for (const name of ["furniture", "notes", "ring", "handles"]) {
      this[name] = document.createElementNS(SVG, "g");
      this[name].setAttribute("class", `gd-${name}`);
      this.svg.append(this[name]);
    }
    this.frozen = null;
    this.legends = [];
    this.listen();
  }

  listen() {
    this.plot.addEventListener("pointermove", (event) => this.stage.point(this, event));
    this.plot.addEventListener("pointerdown", (event) => this.stage.point(this, event));
    this.plot.addEventListener("pointerleave", (event) => {
      if (event.pointerType !== "touch") this.stage.point(null);
    });
    this.handles.addEventListener("pointerdown", (event) => this.grab(event));
    this.handles.addEventListener("pointermove", (event) => this.drag(event));
    for (const end of ["pointerup", "pointercancel", "lostpointercapture"]) {
      this.handles.addEventListener(end, () => this.release());
    }
    this.handles.addEventListener("keydown", (event) => this.nudge(event));
  }

  /* Take over the axes numbered `numbers` of `scene`. */
  set(scene, numbers) {
    this.scene = scene;
    this.axes = numbers.map((number) => ({ number, ...scene.axes[number] }));
    if (this.frozen) Object.assign(this.axes[0], this.frozen);
    const [host] = this.axes;
    const moves = (mark) =>
      mark.reveal ||
      mark.words?.length > 1 ||
      mark.shape?.[0] > 1 ||
      mark.x?.[2] > 1 ||
      mark.y?.[2] > 1;
    this.moving = this.axes.some((axes) => axes.marks?.some(moves));
    say(this.plot, { role: "group", "aria-label": host.title || host.y?.label || "panel" });
    this.fillHead(host);
    this.showPicture(host.picture);
  }

  fillHead(host) {
    const legends = this.axes.map((axes) => axes.legend).filter(Boolean);
    const content = JSON.stringify([host.title, legends, legends.length && this.scene.shapes]);
    if (content === this.content) return;
    this.content = content;
    const inside = legends.map(({ place }) => place.includes(" ") && !this.stage.stacked);
    const built = JSON.stringify([Boolean(host.title), inside]);
    if (built !== this.built) {
      this.built = built;
      this.head.replaceChildren();
      for (const list of this.legends) list.remove();
      this.title = host.title ? html("div", "gd-title", this.head) : null;
      this.legends = inside.map((within) =>
        within ? html("ul", "gd-legend gd-inside", this.plot) : html("ul", "gd-legend", this.head),
      );
    }
    if (this.title) say(this.title, {}, host.title);
    legends.forEach((legend, i) => fillLegend(this.legends[i], legend, this.scene.shapes));
  }

  showPicture(picture) {
    this.plot.querySelector("img")?.remove();
    if (!picture) return;
    const file = new Blob([this.scene.bytes(...picture)], { type: "image/png" });
    const image = html("img", "gd-picture", this.plot, { alt: this.axes[0].title || "figure" });
    image.src = URL.createObjectURL(file);
    image.onload = () => URL.revokeObjectURL(image.src);
  }

  // ---- layout

  /* The room that ticks and labels need outside the frame, {left, right, top, bottom}. */
  margins(width, height) {
    const room = { left: 8, right: 12, top: 8, bottom: 8 };
    const lines = (label, length) => this.stage.wrap(label, this.stage.labelSize, length).length * this.stage.lineHeight;
    let bars = 0;
    for (const { x, y, beside, picture } of this.axes) {
      if (picture) continue;
      const tickWidth = this.tickWidth(y);
      const across = (tickWidth && tickWidth + 9) + (y.label && lines(y.label, height) + 6);
      if (beside !== undefined) {
        bars += BAR + across;
        continue;
      }
      room[y.side] = Math.max(room[y.side], across + 2);
      const down =
        (labels(x).length && this.stage.tickSize + 11) + lines(x.label, width - room.left - room.right);
      room[x.side] = Math.max(room[x.side], down + 4);
      room.right = Math.max(
        room.right,
        this.stage.measure(labels(x).at(-1) ?? "", this.stage.tickSize) / 2 + 2,
      );
    }
    room.right += bars;
    return room;
  }

  tickWidth(axis) {
    return Math.max(0, ...labels(axis).map((text) => this.stage.measure(text, this.stage.tickSize)));
  }

  /* Height over width of the frame that the host asks for, if it asks. */
  get ratio() {
    const { aspect, x, y } = this.axes[0];
    if (!aspect) return null;
    return Math.abs((aspect * (y.limits[1] - y.limits[0])) / (x.limits[1] - x.limits[0]));
  }

  /* Place the frame and the rulers in a plot of `width` by `height` px. */
  arrange(width, height, room) {
    Object.assign(this, { width, height, room });
    const density = window.devicePixelRatio || 1;
    if (
      this.canvas.width !== Math.round(width * density) ||
      this.canvas.height !== Math.round(height * density)
    ) {
      this.canvas.width = Math.round(width * density);
      this.canvas.height = Math.round(height * density);
      this.canvas.style.width = `${width}px`;
      this.canvas.style.height = `${height}px`;
    }
    this.density = density;
    say(this.svg, { width, height });
    const box = {
      left: room.left,
      right: width - room.right,
      top: room.top,
      bottom: height - room.bottom,
    };
    if (this.ratio) {
      const wide = Math.min(box.right - box.left, (box.bottom - box.top) / this.ratio);
      box.right = box.left + wide;
      box.bottom = box.top + wide * this.ratio;
    }
    let edge = box.right;
    for (const axes of this.axes) {
      axes.box = box;
      if (axes.picture) continue;
      if (axes.beside !== undefined) {
        axes.box = { ...box, left: edge + 14, right: edge + BAR };
        edge += BAR + this.tickWidth(axes.y) + 9 + (axes.y.label && this.stage.lineHeight + 6);
      }
      axes.toX = ruler(axes.x, axes.box.left, axes.box.right);
      axes.toY = ruler(axes.y, axes.box.bottom, axes.box.top);
    }
    this.placeLegend(box);
    this.furnish();
  }

  placeLegend(box) {
    const legend = this.plot.querySelector(".gd-legend");
    const place = this.axes[0].legend?.place ?? "";
    if (!legend) return;
    const style = { left: "auto", right: "auto", top: "auto", bottom: "auto" };
    if (place.includes("left")) style.left = `${box.left + 6}px`;
    else style.right = `${this.width - box.right + 6}px`;
    if (place.includes("lower")) style.bottom = `${this.height - box.bottom + 6}px`;
    else style.top = `${box.top + 4}px`;
    Object.assign(legend.style, style);
  }

  /* Tick labels and axis labels, as SVG. */
  furnish() {
    const specs = [];
    for (const axes of this.axes) {
      if (axes.picture) continue;
      this.furnishX(axes, specs);
      this.furnishY(axes, specs);
    }
    fill(this.furniture, specs);
  }

  furnishX({ x, box, toX }, specs) {
    const below = x.side === "bottom";
    const edge = below ? box.bottom : box.top;
    const tickY = edge + (below ? 18 : -9);
    const extent = ([, text]) => this.stage.measure(text, this.stage.tickSize);
    for (const [at, text] of readable(x, toX, extent, 10)) {
      specs.push([
        "text",
        { class: "gd-tick", x: toX.px(at), y: tickY, "text-anchor": "middle" },
        text,
      ]);
    }
    const room = Math.max(box.right - box.left, this.width - this.room.left - this.room.right);
    const lines = this.stage.wrap(x.label, this.stage.labelSize, room);
    const ticked = labels(x).length ? this.stage.tickSize + 11 : 2;
    const first = below ? ticked + 0.85 * this.stage.lineHeight : -ticked - (lines.length - 1) * this.stage.lineHeight - 4;
    lines.forEach((line, i) => {
      const place = { x: (box.left + box.right) / 2, y: edge + first + i * this.stage.lineHeight };
      specs.push([
        "text",
        { class: "gd-label", ...place, "text-anchor": "middle", fill: css(x.color) },
        line,
      ]);
    });
  }

  furnishY({ y, box, toY }, specs) {
    const side = y.side === "right" ? 1 : -1;
    const edge = side > 0 ? box.right : box.left;
    const anchor = side > 0 ? "start" : "end";
    for (const [at, text] of readable(y, toY, () => this.stage.tickSize, 4)) {
      specs.push([
        "text",
        { class: "gd-tick", x: edge + 8 * side, y: toY.px(at) + 4, "text-anchor": anchor },
        text,
      ]);
    }
    const lines = this.stage.wrap(y.label, this.stage.labelSize, this.height);
    const ticked = this.tickWidth(y) ? this.tickWidth(y) + 9 : 2;
    // turned a quarter to the left, the first line is the leftmost
    const first = side < 0 ? -ticked - 6 - (lines.length - 1) * this.stage.lineHeight : ticked + 0.85 * this.stage.lineHeight;
    const length = Math.max(0, ...lines.map((line) => this.stage.measure(line, this.stage.labelSize)));
    const middle = clamp(
      (box.top + box.bottom) / 2,
      length / 2,
      Math.max(length / 2, this.height - length / 2),
    );
    lines.forEach((line, i) => {
      const transform = `translate(${edge + first + i * this.stage.lineHeight} ${middle}) rotate(-90)`;
      specs.push([
        "text",
        { class: "gd-label", transform, "text-anchor": "middle", fill: css(y.color) },
        line,
      ]);
    });
  }

  // ---- painting

  /* The x or y of a mark as a function from number to pixel: d(ata) or a(xes fraction). */
  along(axes, direction, space) {
    const scale = direction === "x" ? axes.toX : axes.toY;
    return space[direction === "x" ? 0 : 1] === "d" ? scale.px : scale.share;
  }

  /* Pixels of the points of a mark at `frame`, with a dragged point where the hand is. */
  pixels(axes, mark, frame) {
    const { scene, stage } = this;
    const xs = scene.floats(mark.x, frame);
    const ys = scene.floats(mark.y, frame);
    const n = scene.shown(mark, frame, Math.max(xs.length, ys.length));
    const toX = this.along(axes, "x", mark.space);
    const toY = this.along(axes, "y", mark.space);
    const px = new Float64Array(2 * n);
    for (let i = 0; i < n; i++) {
      px[2 * i] = toX(xs[i]);
      px[2 * i + 1] = toY(ys[i]);
    }
    mark.handle?.rows.forEach((row, i) => {
      const held = stage.held.get(`${axes.number}/${mark.handle.setting}/${row}`);
      if (held) [px[2 * i], px[2 * i + 1]] = [toX(held.x), toY(held.y)];
    });
    return px;
  }

  paint(frame) {
    const { context: pen, density } = this;
    pen.setTransform(density, 0, 0, density, 0, 0);
    pen.clearRect(0, 0, this.width, this.height);
    const notes = [];
    const handles = [];
    for (const axes of this.axes) {
      if (axes.picture) continue;
      this.paintGrid(axes);
      for (const mark of axes.marks) {
        if (mark.kind === "text") {
          this.note(axes, mark, frame, notes);
          continue;
        }
        pen.save();
        if (mark.clip) this.clip(axes.box);
        this[mark.kind](axes, mark, frame);
        pen.restore();
        if (mark.handle) this.handle(axes, mark, frame, handles);
      }
      this.paintSpines(axes);
    }
    fill(this.notes, notes);
    fill(this.handles, handles);
  }

  clip({ left, right, top, bottom }) {
    this.context.beginPath();
    this.context.rect(left, top, right - left, bottom - top);
    this.context.clip();
  }

  /* A straight line on the pixel grid, so that a hairline is one. */
  hairline(x0, y0, x1, y1) {
    const crisp = (v) => (Math.round(v * this.density) + 0.5) / this.density;
    this.context.moveTo(x0 === x1 ? crisp(x0) : x0, y0 === y1 ? crisp(y0) : y0);
    this.context.lineTo(x0 === x1 ? crisp(x0) : x1, y0 === y1 ? crisp(y0) : y1);
  }

  paintGrid({ x, y, box, toX, toY }) {
    const pen = this.context;
    pen.beginPath();
    if (x.grid)
      for (const [at] of x.ticks) this.hairline(toX.px(at), box.top, toX.px(at), box.bottom);
    if (y.grid)
      for (const [at] of y.ticks) this.hairline(box.left, toY.px(at), box.right, toY.px(at));
    pen.strokeStyle = this.stage.ink("grid");
    pen.lineWidth = 1;
    pen.stroke();
  }

  paintSpines({ x, y, box, spines, toX, toY }) {
    const pen = this.context;
    const { left, right, top, bottom } = box;
    pen.beginPath();
    if (spines.includes("left")) this.hairline(left, top, left, bottom);
    if (spines.includes("right")) this.hairline(right, top, right, bottom);
    if (spines.includes("top")) this.hairline(left, top, right, top);
    if (spines.includes("bottom")) this.hairline(left, bottom, right, bottom);
    const [rim, out] = x.side === "top" ? [top, -1] : [bottom, 1];
    const [wall, away] = y.side === "right" ? [right, 1] : [left, -1];
    const ticks = (ticks, length, draw) => ticks.forEach(([at]) => draw(at, length));
    const across = (at, length) => this.hairline(toX.px(at), rim, toX.px(at), rim + out * length);
    const down = (at, length) => this.hairline(wall, toY.px(at), wall + away * length, toY.px(at));
    ticks(x.ticks, 4, across);
    ticks(x.minor, 2, across);
    ticks(y.ticks, 4, down);
    ticks(y.minor, 2, down);
    pen.strokeStyle = this.stage.ink("muted");
    pen.lineWidth = 1;
    pen.stroke();
  }

  line(axes, mark, frame) {
    const pen = this.context;
    const px = this.pixels(axes, mark, frame);
    if (mark.color) {
      pen.beginPath();
      trace(pen, px, mark.steps);
      this.stroke(mark.color, mark.width, mark.dash);
    }
    if (mark.marker) this.stamp(mark.marker, px, frame, ...mark.every);
  }

  dots(axes, mark, frame) {
    const { marker } = mark;
    this.stamp(marker, this.pixels(axes, mark, frame), frame, 0, 1);
  }

  stroke(colour, width, dash = []) {
    const pen = this.context;
    pen.strokeStyle = this.stage.ink(colour);
    pen.lineWidth = width * this.stage.pointSize;
    pen.setLineDash(dash.map((length) => length * this.stage.pointSize));
    pen.lineJoin = "round";
    pen.stroke();
    pen.setLineDash([]);
  }

  /* A marker on every `stride`-th point from `first` on. */
  stamp(marker, px, frame, first, stride) {
    const { context: pen, density, scene, stage } = this;
    const sizes = scene.floats(marker.sizes, frame);
    const path = scene.paths[marker.shape];
    const { faces, edges, widths } = marker;
    pen.save();
    for (let i = first; 2 * i < px.length; i += stride) {
      const size = sizes[i % sizes.length] * this.stage.pointSize;
      if (!(size > 0) || Number.isNaN(px[2 * i] + px[2 * i + 1])) continue;
      pen.setTransform(
        density * size,
        0,
        0,
        density * size,
        density * px[2 * i],
        density * px[2 * i + 1],
      );
      const face = faces[i % faces.length];
      const edge = edges[i % edges.length];
      const width = widths[i % widths.length];
      if (face) {
        pen.fillStyle = stage.ink(face);
        pen.fill(path);
      }
      if (edge && width) {
        pen.strokeStyle = stage.ink(edge);
        pen.lineWidth = (width * this.stage.pointSize) / size;
        pen.stroke(path);
      }
    }
    pen.restore();
  }

  paths(axes, mark, frame) {
    const { context: pen, stage } = this;
    const { faces, edges, widths, dashes, space } = mark;
    mark.paths.forEach(([x, y], i) => {
      pen.beginPath();
      trace(pen, this.pixels(axes, { x, y, space }, frame), "default");
      if (faces.length && faces[i % faces.length]) {
        pen.fillStyle = stage.ink(faces[i % faces.length]);
        pen.fill();
      }
      const edge = edges[i % edges.length];
      if (edge) this.stroke(edge, widths[i % widths.length], dashes[i % dashes.length]);
    });
  }

  image(axes, mark, frame) {
    const pen = this.context;
    const [left, right, bottom, top] = mark.box;
    const [, rows, columns] = mark.shape;
    const [x0, x1, y0, y1] = [
      axes.toX.px(left),
      axes.toX.px(right),
      axes.toY.px(bottom),
      axes.toY.px(top),
    ];
    pen.globalAlpha = mark.alpha;
    pen.imageSmoothingEnabled = false;
    pen.translate(x0, y0);
    pen.scale((x1 - x0) / columns, (y1 - y0) / rows);
    const ramp = mark.ramp?.map((colour) => this.stage.ink(colour));
    pen.drawImage(this.scene.picture(mark, frame, ramp), 0, 0);
  }

  /* A text of the figure as SVG, and its arrow on the canvas. */
  note(axes, mark, frame, specs) {
    const words = mark.words[Math.min(frame, mark.words.length - 1)];
    const [atX, atY] = this.pixels(axes, mark, frame);
    if (!words || Number.isNaN(atX + atY)) return;
    const [right, up] = (mark.away ?? [0, 0]).map((shift) => shift * this.stage.pointSize);
    const [x, y] = [atX + right, atY - up];
    if (mark.arrow) this.arrow([x, y], this.pixels(axes, mark.arrow, frame), mark.arrow.color);
    const size = mark.size * this.stage.pointSize;
    const lines = words.split("\n");
    const rise = { top: 0.8, center: 0.35, center_baseline: 0.35, bottom: -0.25, baseline: 0 }[
      mark.va
    ];
    const whole = (lines.length - 1) * LINE_HEIGHT;
    const first = rise - whole * ({ top: 0, center: 0.5, center_baseline: 0.5 }[mark.va] ?? 1);
    lines.forEach((line, i) => {
      const attributes = {
        class: `gd-note${mark.bold ? " gd-bold" : ""}`,
        x,
        y: y + size * (first + i * LINE_HEIGHT),
        "text-anchor": { left: "start", center: "middle", right: "end" }[mark.ha],
        style: `font-size:${size}px`,
        fill: css(mark.color),
      };
      if (mark.angle) attributes.transform = `rotate(${-mark.angle} ${x} ${y})`;
      specs.push(["text", attributes, line]);
    });
  }

  arrow([x0, y0], [x1, y1], colour) {
    const pen = this.context;
    const angle = Math.atan2(y1 - y0, x1 - x0);
    pen.beginPath();
    pen.moveTo(x0, y0);
    pen.lineTo(x1, y1);
    for (const turn of [2.7, -2.7]) {
      pen.moveTo(x1, y1);
      pen.lineTo(x1 + 7 * Math.cos(angle + turn), y1 + 7 * Math.sin(angle + turn));
    }
    this.stroke(colour ?? "muted", 1);
  }

  // ---- reading off

  /* The mark nearest to a pixel: {distance, x, y, lines of text}, or nothing. */
  nearest(x, y, frame) {
    let best = { distance: NEAR };
    for (const axes of this.axes) {
      if (axes.picture) continue;
      for (const mark of axes.marks) {
        if (mark.kind === "line" || mark.kind === "dots")
          best = this.nearestPoint(axes, mark, frame, x, y, best);
        else if (mark.bars) best = this.barAt(axes, mark, frame, x, y, best);
        else if (mark.kind === "image") best = this.pixelAt(axes, mark, frame, x, y, best);
      }
    }
    return best.lines && best;
  }

  /* Where a reading stands, in words. */
  place(axes, x, y) {
    const { x: across, y: up } = axes;
    return [`${across.label || "x"}: ${number(x, across)}`, `${up.label || "y"}: ${number(y, up)}`];
  }

  nearestPoint(axes, mark, frame, x, y, best) {
    if (mark.space !== "dd" || (mark.kind === "line" && mark.x[1] === 2 && !mark.label))
      return best;
    const px = this.pixels(axes, mark, frame);
    const { left, right, top, bottom } = axes.box;
    let found = -1;
    let { distance } = best;
    for (let i = 0; 2 * i < px.length; i++) {
      const away = Math.hypot(px[2 * i] - x, px[2 * i + 1] - y);
      const inside =
        px[2 * i] >= left - 1 &&
        px[2 * i] <= right + 1 &&
        px[2 * i + 1] >= top - 1 &&
        px[2 * i + 1] <= bottom + 1;
      if (inside && away < distance) [found, distance] = [i, away];
    }
    if (found < 0) return best;
    const [atX, atY] = [px[2 * found], px[2 * found + 1]];
    const values = [
      this.scene.floats(mark.x, frame)[found],
      this.scene.floats(mark.y, frame)[found],
    ];
    return { distance, x: atX, y: atY, label: mark.label, lines: this.place(axes, ...values) };
  }

  barAt(axes, mark, frame, x, y, best) {
    for (const [xs, ys] of bars(this, mark, frame)) {
      const [left, right] = [axes.toX.px(Math.min(...xs)), axes.toX.px(Math.max(...xs))];
      const [low, high] = [Math.min(...ys), Math.max(...ys)];
      const [top, bottom] = [axes.toY.px(high), axes.toY.px(low)];
      if (x < left || x > right || y < top - NEAR || y > bottom + 4) continue;
      const value = Math.abs(high) >= Math.abs(low) ? high : low;
      const middle = (Math.min(...xs) + Math.max(...xs)) / 2;
      return {
        distance: NEAR / 2,
        x: (left + right) / 2,
        y: axes.toY.px(value),
        label: mark.label,
        lines: this.place(axes, middle, value),
      };
    }
    return best;
  }

  pixelAt(axes, mark, frame, x, y, best) {
    const [left, right, bottom, top] = mark.box;
    const [frames, rows, columns] = mark.shape;
    const [x0, x1, y0, y1] = [
      axes.toX.px(left),
      axes.toX.px(right),
      axes.toY.px(bottom),
      axes.toY.px(top),
    ];
    const column = Math.floor(((x - x0) / (x1 - x0)) * columns);
    const row = Math.floor(((y - y0) / (y1 - y0)) * rows);
    if (best.lines || column < 0 || row < 0 || column >= columns || row >= rows) return best;
    const at = Math.min(frame, frames - 1);
    const pixel = this.scene.bytes(mark.pixels, frames * rows * columns)[
      (at * rows + row) * columns + column
    ];
    const middle = [
      x0 + ((column + 0.5) / columns) * (x1 - x0),
      y0 + ((row + 0.5) / rows) * (y1 - y0),
    ];
    const values = this.scene.floats(mark.values, 0);
    const span = { scale: "linear", limits: [values[0], values[254]] };
    const value = pixel === 255 ? "no value" : number(values[pixel], span);
    const place = this.place(axes, axes.toX.value(middle[0]), axes.toY.value(middle[1]));
    return {
      distance: NEAR,
      x: middle[0],
      y: middle[1],
      label: mark.label,
      lines: [`value: ${value}`, ...place],
    };
  }

  mark(reading) {
    fill(this.ring, reading ? [["circle", { cx: reading.x, cy: reading.y, r: 6 }]] : []);
  }

  // ---- dragging

  handle(axes, mark, frame, specs) {
    const px = this.pixels(axes, mark, frame);
    mark.handle.rows.forEach((row, i) => {
      const [cx, cy] = [px[2 * i], px[2 * i + 1]];
      const at = [number(axes.toX.value(cx), axes.x), number(axes.toY.value(cy), axes.y)].join(
        ", ",
      );
      specs.push([
        "circle",
        {
          class: "gd-handle",
          cx,
          cy,
          r: 13,
          tabindex: 0,
          role: "slider",
          "aria-roledescription": "draggable point",
          "aria-label": `point ${row + 1} at ${at}; arrow keys move it`,
          "aria-valuenow": +axes.toX.value(cx).toPrecision(6),
          "aria-valuetext": at,
          "data-axes": axes.number,
          "data-setting": mark.handle.setting,
          "data-row": row,
          "data-along": mark.handle.along,
        },
      ]);
    });
  }

  /* Put the point of a handle at a pixel, and say so to the kernel. */
  moveTo(handle, x, y) {
    if (this.stage.stale) this.stage.layout(); // a scene has come since the last paint
    const axes = this.axes.find(({ number }) => number === +handle.dataset.axes);
    const { left, right, top, bottom } = axes.box;
    const { along } = handle.dataset;
    const [cx, cy] = [+handle.getAttribute("cx"), +handle.getAttribute("cy")];
    const point = {
      x: tidy(axes.toX.value(along.includes("x") ? clamp(x, left, right) : cx), axes.x),
      y: tidy(axes.toY.value(along.includes("y") ? clamp(y, top, bottom) : cy), axes.y),
    };
    this.stage.hold(this, axes.number, handle.dataset.setting, +handle.dataset.row, point);
  }

  grab(event) {
    if (event.button !== 0) return;
    event.preventDefault();
    const handle = event.target;
    handle.focus({ preventScroll: true });
    handle.setPointerCapture(event.pointerId);
    const from = this.plot.getBoundingClientRect();
    // the hand seldom hits the very centre: keep its distance
    this.grip = {
      handle,
      x: +handle.getAttribute("cx") - (event.clientX - from.left),
      y: +handle.getAttribute("cy") - (event.clientY - from.top),
    };
    // the ground must not move under the hand
    const { x, y } = this.axes[0];
    this.frozen = { x, y };
    this.plot.classList.add("gd-dragging");
  }

  drag(event) {
    if (!this.grip) return;
    const from = this.plot.getBoundingClientRect();
    const { handle, x, y } = this.grip;
    this.moveTo(handle, event.clientX - from.left + x, event.clientY - from.top + y);
  }

  release() {
    if (!this.grip) return;
    this.grip = null;
    this.frozen = null;
    this.plot.classList.remove("gd-dragging");
    this.stage.thaw();
  }

  nudge(event) {
    const direction = {
      ArrowLeft: [-1, 0],
      ArrowRight: [1, 0],
      ArrowUp: [0, -1],
      ArrowDown: [0, 1],
    }[event.key];
    if (!direction) return;
    event.preventDefault();
    event.stopPropagation();
    if (this.stage.stale) this.stage.layout();
    const handle = event.target;
    const { axes: number, setting, row } = handle.dataset;
    const axes = this.axes.find((other) => other.number === +number);
    // a second key may come before the first one is painted
    const held = this.stage.held.get(`${number}/${setting}/${row}`);
    const x = held ? axes.toX.px(held.x) : +handle.getAttribute("cx");
    const y = held ? axes.toY.px(held.y) : +handle.getAttribute("cy");
    const { left, right, top, bottom } = axes.box;
    const share = event.shiftKey ? 0.1 : 0.01;
    const [across, down] = [share * (right - left), share * (bottom - top)];
    this.moveTo(handle, x + direction[0] * across, y + direction[1] * down);
    this.stage.flush();
  }
}

/* A line through points in pixels; a NaN lifts the pen. */
function trace(pen, px, steps) {
  let down = false;
  for (let i = 0; i < px.length; i += 2) {
    const x = px[i];
    const y = px[i + 1];
    if (x !== x || y !== y) {
      down = false;
      continue;
    }
    if (!down) pen.moveTo(x, y);
    else {
      if (steps === "post") pen.lineTo(x, px[i - 1]);
      else if (steps === "pre") pen.lineTo(px[i - 2], y);
      else if (steps === "mid") {
        pen.lineTo((px[i - 2] + x) / 2, px[i - 1]);
        pen.lineTo((px[i - 2] + x) / 2, y);
      }
      pen.lineTo(x, y);
    }
    down = true;
  }
}

/* The corners of each bar of a mark, in data. */
function* bars(panel, mark, frame) {
  for (const [x, y] of mark.paths) {
    const xs = panel.scene.floats(x, frame);
    const ys = panel.scene.floats(y, frame);
    let start = 0;
    for (let i = 0; i <= xs.length; i++) {
      if (i < xs.length && xs[i] === xs[i]) continue;
      yield [xs.subarray(start, i), ys.subarray(start, i)];
      start = i + 1;
    }
  }
}

/* The texts that stand at the ticks of an axis. */
function labels({ ticks, minor }) {
  return [...ticks, ...minor].map(([, text]) => text).filter(Boolean);
}

/* The tick labels that fit: each, or every second, third …; then minor ones in the gaps. */
function readable(axis, scale, extent, gap) {
  const place = (tick) => [scale.px(tick[0]), extent(tick) / 2 + gap / 2];
  const apart = (a, b) => {
    const [[p, r], [q, s]] = [place(a), place(b)];
    return Math.abs(p - q) >= r + s;
  };
  const ticks = axis.ticks.filter(([, text]) => text);
  let kept = ticks;
  for (let stride = 2; kept.some((tick, i) => i && !apart(tick, kept[i - 1])); stride++) {
    kept = ticks.filter((_, i) => i % stride === 0);
  }
  for (const tick of axis.minor) {
    if (tick[1] && kept.every((other) => apart(tick, other))) kept = [...kept, tick];
  }
  return kept;
}

/* Have a list show a legend, each entry with a swatch in the look of its mark. */
function fillLegend(list, { title, entries }, shapes) {
  const items = entries.length + (title ? 1 : 0);
  const titled = Boolean(list.querySelector(".gd-legend-title"));
  if (list.children.length !== items || titled !== Boolean(title)) {
    list.replaceChildren();
    if (title) html("li", "gd-legend-title", list);
    for (const _ of entries) {
      html("li", "", list).append(document.createElementNS(SVG, "svg"), "");
    }
  }
  if (title) say(list.firstChild, {}, title);
  entries.forEach((entry, i) => {
    const [swatch, label] = list.children[items - entries.length + i].childNodes;
    const half = entry.color || entry.face || entry.edge ? 14 : 7; // a lone marker is narrow
    const size = { viewBox: `${-half} -7 ${2 * half} 14`, width: 2 * half };
    say(swatch, { class: "gd-swatch", ...size });
    fill(swatch, swatchSpecs(entry, shapes));
    if (label.data !== entry.label) label.data = entry.label;
  });
}

function swatchSpecs({ face, edge, color, width, dash, marker }, shapes) {
  const specs = [];
  if (face || edge)
    specs.push([
      "rect",
      { x: -10, y: -5, width: 20, height: 10, fill: css(face), stroke: css(edge) },
    ]);
  if (color) {
    const dashes = dash.map((length) => length * POINT).join(" ");
    specs.push([
      "path",
      {
        d: "M-13,0H13",
        stroke: css(color),
        "stroke-width": width * POINT,
        "stroke-dasharray": dashes,
      },
    ]);
  }
  if (marker) {
    const look = { fill: css(marker.faces[0]), stroke: css(marker.edges[0]) };
    const scaled = { transform: "scale(8)", "stroke-width": (marker.widths[0] * POINT) / 8 };
    specs.push(["path", { d: shapes[marker.shape], ...scaled, ...look }]);
  }
  return specs;
}

// ------------------------------------------------------------------ the stage

const ICONS = {
  back: "M11 3L5 8l6 5zM4 3h1.5v10H4z",
  play: "M4 2.5v11L13.5 8z",
  pause: "M4 3h3v10H4zM9 3h3v10H9z",
  forward: "M5 3l6 5-6 5zM10.5 3H12v10h-1.5z",
};

class Stage {
  constructor(model, element) {
    this.model = model;
    this.panels = [];
    this.held = new Map(); // dragged points that the scene may not know yet
    this.outbox = new Map();
    this.inks = new Map();
    this.widths = new Map();
    this.dirty = new Set();
    this.frame = 0;
    this.drawn = 0;
    this.speed = 1;
    this.build(element);
    this.watch();
    this.describe();
    this.setScene();
  }

  // ---- building and watching

  build(element) {
    this.root = html("div", "gd gd-stage", element, { tabindex: 0, role: "group" });
    this.description = html("p", "gd-unseen", this.root, { "aria-live": "polite" });
    this.title = html("div", "gd-figure-title", this.root);
    this.legend = html("div", "", this.root);
    this.grid = html("div", "gd-grid", this.root);
    this.tooltip = html("div", "gd-tooltip", this.root, { "aria-hidden": "true", hidden: "" });
    this.probe = html("span", "gd-unseen", this.root, { "aria-hidden": "true" });
    this.ruler = document.createElement("canvas").getContext("2d");
    this.lost = html("p", "gd-lost", this.root, { role: "status" });
    this.buildPlayer();
    this.root.addEventListener("keydown", (event) => this.key(event));
  }

  buildPlayer() {
    this.player = html("div", "gd-player", this.root, {
      role: "group",
      "aria-label": "player",
      hidden: "", // until there is something to play
    });
    const button = (icon, label, act) => {
      const node = html("button", `gd-${icon}`, this.player, {
        type: "button",
        "aria-label": label,
        title: label,
      });
      node.innerHTML = `<svg viewBox="0 0 16 16" aria-hidden="true"><path d="${ICONS[icon]}"/></svg>`;
      node.addEventListener("click", act);
      return node;
    };
    button("back", "one step back", () => this.step(-1));
    this.playButton = button("play", "play", () => this.toggle());
    button("forward", "one step forward", () => this.step(1));
    this.scrubber = html("input", "gd-scrubber", this.player, {
      type: "range",
      min: 0,
      "aria-label": "step",
    });
    this.scrubber.addEventListener("input", () => this.seek(+this.scrubber.value));
    this.readout = html("output", "gd-readout", this.player);
    const speeds = html("select", "gd-speed", this.player, { "aria-label": "speed" });
    for (const [text, value] of [
      ["¼×", 0.25],
      ["½×", 0.5],
      ["1×", 1],
      ["2×", 2],
      ["4×", 4],
    ]) {
      const option = html("option", "", speeds, { value });
      option.textContent = text;
    }
    speeds.value = "1";
    speeds.addEventListener("change", () => {
      this.speed = +speeds.value;
      if (this.playing) this.play();
    });
  }

  /* Say so when nobody answers any more: Jupyter's client tries again without a word. */
  listenToConnection() {
    const kernel = this.model.widget_manager?.kernel;
    const changes = [kernel?.connectionStatusChanged, kernel?.statusChanged];
    const hear = () => {
      if (kernel.status === "dead" || kernel.isDisposed)
        this.lost.textContent = "This session has ended. Reload the page to go on from here.";
      else if (kernel.connectionStatus === "connected") this.lost.textContent = "";
      else
        this.lost.textContent =
          "The connection is lost. This figure still plays; to change it, wait or reload the page.";
    };
    for (const change of changes) change?.connect(hear);
    return () => changes.forEach((change) => change?.disconnect(hear));
  }

  watch() {
    const undo = [];
    const on = (target, name, act) => {
      target.addEventListener(name, act);
      undo.push(() => target.removeEventListener(name, act));
    };
    const follow = (name, act) => {
      this.model.on(name, act);
      undo.push(() => this.model.off(name, act));
    };
    follow("change:scene", () => this.setScene());
    follow("change:description", () => this.describe());
    undo.push(this.listenToConnection());

    const recolour = () => {
      this.inks.clear();
      this.relayout();
    };
    on(matchMedia("(prefers-color-scheme: dark)"), "change", recolour);
    const attributes = new MutationObserver(recolour);
    for (const node of [document.documentElement, document.body]) {
      attributes.observe(node, {
        attributes: true,
        attributeFilter: [
          "class",
          "style",
          "data-gd-theme",
          "data-gd-look",
          "data-jp-theme-light",
        ],
      });
    }
    const size = new ResizeObserver(() => this.relayout());
    size.observe(this.root);
    const density = () => {
      const query = matchMedia(`(resolution: ${window.devicePixelRatio}dppx)`);
      const changed = () => {
        this.relayout();
        density();
      };
      query.addEventListener("change", changed, { once: true });
      this.forgetDensity = () => query.removeEventListener("change", changed);
    };
    density();
    on(document, "pointerdown", (event) => {
      if (!this.root.contains(event.target)) this.point(null);
    });
    this.destroy = () => {
      undo.forEach((act) => act());
      attributes.disconnect();
      size.disconnect();
      this.forgetDensity();
      cancelAnimationFrame(this.request);
      this.gone = true;
      this.root.remove();
    };
  }

  describe() {
    const text = this.model.get("description") || "figure";
    say(this.root, { "aria-label": text });
    say(this.description, {}, text);
  }

  // ---- scenes

  setScene() {
    const { text, data } = this.model.get("scene") ?? {};
    if (!text) return;
    const plain = { ...JSON.parse(text), data };
    const before = this.scene;
    this.scene = new Scene(plain);
    this.frame = plain.asked ?? this.sameStep(before);
    this.letGo();
    const places = plain.axes.map(({ cell, on, beside }) => [cell, on, beside]);
    const cells = JSON.stringify([plain.size, places]);
    if (cells !== this.cells) this.rebuild(cells);
    this.fillPanels();
    say(this.title, {}, plain.title);
    if (plain.legend) {
      const list = this.legend.firstChild ?? html("ul", "gd-legend", this.legend);
      fillLegend(list, plain.legend, plain.shapes);
    } else this.legend.replaceChildren();
    this.scrubber.max = plain.steps.length - 1;
    this.player.hidden = plain.steps.length < 2;
    if (this.player.hidden) this.pause();
    else if (this.playing) this.play();
    this.refresh();
    cancelAnimationFrame(this.request);
    this.tick(performance.now());
  }

  /* The frame to show in a new scene: the present step, if somebody chose it. */
  sameStep(before) {
    const { steps, start } = this.scene;
    if (!before || (this.frame === before.start && !this.playing)) return start;
    const step = before.steps[this.frame];
    const away = steps.map((other) => Math.abs(other - step));
    return away.indexOf(Math.min(...away));
  }

  rebuild(cells) {
    this.cells = cells;
    this.found = null;
    this.panels.forEach((panel) => [panel.head, panel.plot].forEach((node) => node.remove()));
    this.hosts = this.scene.axes.map((axes, i) => axes.on ?? axes.beside ?? i);
    this.panels = this.hosts.filter((host, i) => host === i).map(() => new Panel(this));
  }

  fillPanels() {
    const hosts = [...new Set(this.hosts.filter((host, i) => host === i))];
    hosts.forEach((host, i) => {
      const numbers = this.hosts.flatMap((other, number) => (other === host ? [number] : []));
      this.panels[i].set(this.scene, numbers);
    });
  }

  // ---- layout

  /* The page has changed. */
  relayout() {
    this.found = null;
    this.refresh();
  }

  /* The scene has changed: what `found` tells of the page still holds. */
  refresh() {
    this.stale = true;
    this.invalidate();
  }

  /* Lay the panels out in the columns and rows of the figure, or one under the other. */
  layout() {
    if (!this.scene) return false;
    this.found ??= this.find();
    if (!this.found) return false;
    this.stale = false;
    const sizes = this.stacked ? this.stack(this.found.width) : this.spread(this.found.width);
    this.panels.forEach((panel, i) => panel.arrange(...sizes[i]));
    return true;
  }

  /* How much room there is. The page is asked once: an answer costs it a layout of its own. */
  find() {
    const width = this.grid.clientWidth;
    if (!width) return null;
    const stacked = width < NARROW;
    if (stacked !== this.stacked) {
      this.stacked = stacked;
      this.root.classList.toggle("gd-stacked", stacked);
      this.panels.forEach((panel) => {
        panel.content = null;
        panel.fillHead(panel.axes[0]);
      });
    }
    this.measureType();
    return { width };
  }

  /* Sizes of type and marks in px, larger on a projector. */
  measureType() {
    const style = getComputedStyle(this.root);
    const scale = +style.getPropertyValue("--gd-scale") || 1;
    this.family = style.fontFamily;
    [this.pointSize, this.tickSize, this.labelSize] = [POINT * scale, 12 * scale, 13 * scale];
    this.lineHeight = this.labelSize * LINE_HEIGHT;
  }

  stack(width) {
    const [w, h] = this.scene.size;
    this.grid.style.gridTemplateColumns = "minmax(0, 1fr)";
    this.grid.style.gridTemplateRows = "";
    const rooms = this.panels.map((panel) => panel.margins(width, 0.5 * width));
    const left = Math.max(...rooms.map((room) => room.left));
    return this.panels.map((panel, i) => {
      const room = { ...rooms[i], left };
      const [x0, y0, x1, y1] = panel.axes[0].cell;
      const inner = width - room.left - room.right;
      const shape = panel.ratio ?? clamp(((y1 - y0) * h) / ((x1 - x0) * w), 0.55, 0.8);
      const height = Math.round(Math.min(inner * shape, 1.2 * width) + room.top + room.bottom);
      for (const node of [panel.head, panel.plot])
        Object.assign(node.style, { gridColumn: "1", gridRow: "auto", order: i });
      panel.plot.style.height = `${height}px`;
      return [width, height, room];
    });
  }

  spread(width) {
    const cells = this.panels.map((panel) => panel.axes[0].cell);
    const columns = distinct(cells.flatMap(([x0, , x1]) => [x0, x1]));
    const sizes = (this.found.plots ??= this.place(width, cells, columns));
    const rooms = this.panels.map((panel, i) => panel.margins(...sizes[i]));
    // frames that start or end on the same line of the grid line up; one of a fixed shape would
    // shrink for it, so it does only with those of its own width or height
    const align = (side, edge) => {
      const alike = (i, j) =>
        cells[j][edge] === cells[i][edge] &&
        (cells[j][(edge + 2) % 4] === cells[i][(edge + 2) % 4] ||
          !(this.panels[i].ratio || this.panels[j].ratio));
      return rooms.map((_, i) =>
        Math.max(...rooms.filter((_, j) => alike(i, j)).map((room) => room[side])),
      );
    };
    const [left, top, bottom] = [align("left", 0), align("top", 1), align("bottom", 3)];
    return sizes.map(([across, down], i) => {
      const last = cells[i][2] === columns.at(-1) && !this.panels[i].ratio;
      const gap = last ? 0 : GAP; // one of a fixed shape is as large as those beside it
      return [
        across,
        down,
        { left: left[i], top: top[i], right: rooms[i].right + gap, bottom: bottom[i] },
      ];
    });
  }

  /* Set the grid, and return the width and height of each plot. */
  place(width, cells, columns) {
    const [w, h] = this.scene.size;
    const rows = distinct(cells.flatMap(([, y0, , y1]) => [y0, y1]));
    const lowest = Math.min(...cells.map(([, y0, , y1]) => y1 - y0));
    const total = Math.max((width * h) / w, 220 / lowest);
    const shares = (edges) => edges.slice(1).map((edge, i) => edge - edges[i]);
    this.grid.style.gridTemplateColumns = shares(columns)
      .map((share) => `minmax(0, ${100 * share}fr)`) // fewer than 1fr in all would leave a gap
      .join(" ");
    this.grid.style.gridTemplateRows = shares(rows)
      .map((share) => `auto ${Math.round(share * total)}px`)
      .join(" ");
    this.panels.forEach((panel, i) => {
      const [x0, y0, x1, y1] = cells[i];
      const gridColumn = `${columns.indexOf(x0) + 1} / ${columns.indexOf(x1) + 1}`;
      const top = 2 * rows.indexOf(y0) + 1;
      Object.assign(panel.head.style, { gridColumn, gridRow: top, order: "" });
      Object.assign(panel.plot.style, {
        gridColumn,
        gridRow: `${top + 1} / ${2 * rows.indexOf(y1) + 1}`,
        order: "",
        height: "",
      });
    });
    return this.panels.map(({ plot }) => [plot.clientWidth, plot.clientHeight]);
  }

  measure(text, size) {
    const key = `${size} ${text}`;
    if (!this.widths.has(key)) {
      if (this.widths.size > 5000) this.widths.clear();
      this.ruler.font = `${size}px ${this.family}`;
      this.widths.set(key, this.ruler.measureText(text).width);
    }
    return this.widths.get(key);
  }

  /* Lines of at most `width` px; a long word keeps its own line. */
  wrap(text, size, width) {
    if (!text) return [];
    const lines = [""];
    for (const word of text.split(/\s+/)) {
      const longer = lines.at(-1) ? `${lines.at(-1)} ${word}` : word;
      if (lines.at(-1) && this.measure(longer, size) > width) lines.push(word);
      else lines[lines.length - 1] = longer;
    }
    return lines;
  }

  // ---- painting

  /* A colour for the canvas: "c0 0.4" answered by the style sheet. */
  ink(colour) {
    if (!this.inks.has(colour)) {
      this.probe.style.color = css(colour);
      this.inks.set(colour, getComputedStyle(this.probe).color);
    }
    return this.inks.get(colour);
  }

  invalidate(panels = this.panels) {
    panels.forEach((panel) => this.dirty.add(panel));
    if (!this.request && !this.gone) this.request = requestAnimationFrame((now) => this.tick(now));
  }

  tick(now) {
    this.request = null;
    if (this.playing) this.advance(now);
    if (this.outbox.size) this.flush();
    if (this.stale && !this.layout()) return;
    if (this.scene) {
      for (const panel of this.dirty) panel.paint(this.frame);
      this.read();
      this.show();
    }
    if (this.dirty.size) this.root.dataset.drawn = ++this.drawn;
    this.dirty.clear();
    if (this.playing) this.invalidate([]);
  }

  /* Scrubber, readout and data attributes say which step is on the canvas. */
  show() {
    const { steps } = this.scene;
    const text = `step ${grouped(steps[this.frame])} of ${grouped(steps.at(-1))}`;
    this.root.dataset.start = steps[this.scene.start];
    this.root.dataset.frame = steps[this.frame];
    if (+this.scrubber.value !== this.frame) this.scrubber.value = this.frame;
    if (this.readout.textContent === text) return;
    this.readout.textContent = text;
    this.readout.style.minWidth = `${text.length}ch`;
    this.scrubber.setAttribute("aria-valuetext", text);
  }

  // ---- playing

  goto(frame) {
    const next = clamp(frame, 0, this.scene.steps.length - 1);
    if (next === this.frame) return;
    this.frame = next;
    this.invalidate(this.panels.filter((panel) => panel.moving));
    this.root.dispatchEvent(new Event("gd-step", { bubbles: true }));
  }

  seek(frame) {
    this.pause();
    this.goto(frame);
  }

  step(by) {
    this.seek(this.frame + by);
  }

  play() {
    if (this.frame === this.scene.steps.length - 1) this.goto(0);
    this.playing = { since: null, from: this.frame };
    this.playIcon("pause");
    this.invalidate([]);
  }

  pause() {
    this.playing = null;
    this.playIcon("play");
  }

  toggle() {
    if (this.playing) this.pause();
    else this.play();
  }

  playIcon(icon) {
    this.playButton.querySelector("path").setAttribute("d", ICONS[icon]);
    this.playButton.setAttribute("aria-label", icon);
    this.playButton.title = icon;
  }

  advance(now) {
    this.playing.since ??= now;
    const { since, from } = this.playing;
    this.goto(from + Math.floor(((now - since) / 1000) * RATE * this.speed));
    if (this.frame === this.scene.steps.length - 1) this.pause();
  }

  key(event) {
    if (event.altKey || event.ctrlKey || event.metaKey || this.player.hidden) return;
    const tag = event.target.tagName;
    if (tag === "SELECT" || (tag === "BUTTON" && event.key === " ")) return;
    const last = this.scene.steps.length - 1;
    const act = {
      " ": () => this.toggle(),
      ArrowLeft: () => this.step(-1),
      ArrowRight: () => this.step(1),
      Home: () => this.seek(0),
      End: () => this.seek(last),
    }[event.key];
    if (!act) return;
    event.preventDefault();
    act();
  }

  // ---- reading off

  /* Remember where the pointer is; the next paint answers. */
  point(panel, event) {
    const from = panel?.plot.getBoundingClientRect();
    this.pointer = panel && { panel, x: event.clientX - from.left, y: event.clientY - from.top };
    this.invalidate([]);
  }

  read() {
    const { panel, x, y } = this.pointer ?? {};
    const reading = panel && !panel.grip ? panel.nearest(x, y, this.frame) : null;
    for (const other of this.panels) other.mark(other === panel ? reading : null);
    this.tooltip.hidden = !reading;
    if (!reading) return;
    const lines = [reading.label, ...reading.lines].filter(Boolean);
    if (this.tooltip.textContent !== lines.join("")) {
      this.tooltip.replaceChildren();
      lines.forEach((line, i) => {
        html("div", i || !reading.label ? "" : "gd-tooltip-label", this.tooltip).textContent = line;
      });
    }
    const { offsetWidth: width, offsetHeight: height } = this.tooltip;
    const left = panel.plot.offsetLeft + reading.x;
    const top = panel.plot.offsetTop + reading.y;
    const beside = left + 14 + width > this.root.clientWidth ? left - 14 - width : left + 14;
    this.tooltip.style.transform = `translate(${Math.max(0, beside)}px, ${Math.max(0, top - height - 10)}px)`;
  }

  // ---- dragging

  /* A point is where the hand put it; the kernel hears of it at most once per frame. */
  hold(panel, axes, setting, row, point) {
    const key = `${axes}/${setting}/${row}`;
    this.held.set(key, { ...point, panel, at: performance.now() });
    this.outbox.set(`${setting}/${row}`, { kind: "drag", setting, row, ...point });
    this.invalidate([panel]);
  }

  flush() {
    for (const message of this.outbox.values()) this.model.send(message);
    this.outbox.clear();
  }

  /* Let go of the points that the new scene shows where they were put, or elsewhere for long. */
  letGo() {
    const now = performance.now();
    for (const [key, { x, y, at, panel }] of this.held) {
      if (panel.grip) continue;
      const [number, setting, row] = key.split("/");
      const marks = this.scene.axes[number]?.marks ?? [];
      const mark = marks.find(
        ({ handle }) => handle?.setting === setting && handle.rows.includes(+row),
      );
      const i = mark?.handle.rows.indexOf(+row);
      const same = (track, value) =>
        Math.abs(this.scene.floats(track, this.frame)[i] - value) <=
        1e-5 * Math.max(1, Math.abs(value));
      if (!mark || now - at > SETTLED || (same(mark.x, x) && same(mark.y, y)))
        this.held.delete(key);
    }
  }

  /* After a drag the axes may have the limits of the newest scene. */
  thaw() {
    this.flush();
    this.fillPanels();
    this.refresh();
  }
}

export default {
  render({ model, el }) {
    const stage = new Stage(model, el);
    // what the kernel wrote while this page was being built may have found nobody at home
    model.send({ kind: "ready" });
    return () => stage.destroy();
  },
};
