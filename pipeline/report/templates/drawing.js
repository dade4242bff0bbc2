// Draws one sample under its labels as an SVG in pixels of the stored image.

// The six views of an image in the paper (Figures 8 and 9), by their letters there.
const VIEWS = [
  {letter: "a", title: "regions", words: () => ""},
  {letter: "b", title: "regions with phrases", words: label => label.phrase},
  {letter: "c", title: "regions with brief texts", words: label => label.brief || label.phrase},
  {letter: "d", title: "brief text", granularity: "brief"},
  {letter: "e", title: "detailed text", granularity: "detailed"},
  {letter: "f", title: "more detailed text", granularity: "more_detailed"},
];
const METER = document.createElement("canvas").getContext("2d");  // tells how wide texts are
const LONGEST = 34;  // letters of a label

function svg(name, attributes, ...children) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.append(...children);
  return element;
}

function html(name, attributes, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.append(...children);
  return element;
}

const imageOf = index => document.getElementById("image-" + index).textContent.trim();

// The colour of an object. After the last colour they begin again, with dashed lines.
function styleOf(object) {
  const {colour, ink} = report.palette[object % report.palette.length];
  return {colour, ink, dashed: Math.floor(object / report.palette.length) % 2 === 1};
}

const area = box => (box[2] - box[0]) * (box[3] - box[1]);

function boundsOf(quad) {
  const xs = quad.filter((_, i) => i % 2 === 0), ys = quad.filter((_, i) => i % 2 === 1);
  return [Math.min(...xs), Math.min(...ys), Math.max(...xs), Math.max(...ys)];
}

// Texts of one granularity, each with its triplets: the phrases, by the number of their object.
function groundedTexts(labels, granularity) {
  const numbers = new Map();
  return labels.filter(label => label.kind === "texts" && label.granularity === granularity).map(text => {
    const triplets = labels.filter(label => label.kind === "triplets" && label.text_id === text.id);
    triplets.sort((one, other) => one.start - other.start);
    for (const triplet of triplets) {
      if (!numbers.has(triplet.object)) numbers.set(triplet.object, numbers.size + 1);
    }
    return {text, triplets, numbers};
  });
}

// The labels that a view draws, the largest first, each with the words of its chip.
function drawn(labels, view) {
  const items = [];
  if (view.granularity) {
    for (const {triplets, numbers} of groundedTexts(labels, view.granularity)) {
      for (const label of triplets) items.push({label, words: String(numbers.get(label.object))});
    }
    return items;
  }
  for (const label of labels) {
    if (label.kind === "regions") items.push({label, words: view.words(label)});
    if (label.kind === "text_regions") items.push({label, words: view.letter === "a" ? "" : label.text});
  }
  const size = item => item.label.box ? area(item.label.box) : 0;
  return items.sort((one, other) => size(other) - size(one));
}

// Where a chip overlaps those before it least: above its box, inside it, or below it.
function place(box, width, height, size, placed) {
  const rightmost = Math.max(0, size[0] - width);
  const lefts = [box[0], box[2] - width].map(x => Math.min(Math.max(x, 0), rightmost));
  const tops = [box[1] - height, box[1], box[3] - height, box[3]].filter(y => y >= 0 && y <= size[1] - height);
  let best = null, least = Infinity;
  for (const y of tops.length ? tops : [0]) {
    for (const x of lefts) {
      const overlap = placed.reduce((sum, other) => sum
        + Math.max(0, Math.min(x + width, other.x + other.width) - Math.max(x, other.x))
        * Math.max(0, Math.min(y + height, other.y + height) - Math.max(y, other.y)), 0);
      if (overlap < least) [best, least] = [{x, y, width}, overlap];
    }
  }
  placed.push(best);
  return best;
}

// The width of a text in the page's font, in ems.
function ems(words) {
  METER.font = "100px " + getComputedStyle(document.body).fontFamily;
  return METER.measureText(words).width / 100;
}

function chip(spot, words, font, style) {
  return svg("g", {class: "chip-" + (style.faint ? "faint" : "full")},
    svg("rect", {x: spot.x, y: spot.y, width: spot.width, height: font * 1.4, rx: font * 0.2, fill: style.colour}),
    svg("text", {x: spot.x + font * 0.35, y: spot.y + font * 1.04, "font-size": font, fill: style.ink,
      textLength: spot.width - font * 0.7, lengthAdjust: "spacingAndGlyphs"}, words));
}

// A light line below the coloured one, so that every colour is seen on every picture.
function outline(label, style) {
  const quad = label.quad && {points: label.quad.join(" ")};
  const box = label.box && {x: label.box[0], y: label.box[1], width: label.box[2] - label.box[0], height: label.box[3] - label.box[1]};
  const name = quad ? "polygon" : "rect";
  const kind = label.dropped ? "line dropped" : style.dashed ? "line dashed" : quad ? "line quad" : "line";
  return svg("g", {class: style.faint ? "faint" : ""},
    svg(name, {class: "casing", ...(quad || box)}),
    svg(name, {class: kind, stroke: style.colour, ...(quad || box)}, svg("title", {}, tell(label))));
}

// The words of a label and where they come from, for the pointer and for screen readers.
function tell(label) {
  const says = label.brief && label.brief !== label.phrase ? `${label.phrase}: ${label.brief}` : label.phrase || label.text;
  return [says, label.source, label.dropped && "dropped: " + label.dropped.replaceAll("_", " ")].filter(Boolean).join(", ");
}

/* The picture of a sample.
   options: masks, labels, words (text regions) and dropped say what is drawn; `matches` decides which
   labels are drawn fully, the others are faint; `scale` is the size of the letters. */
function picture(index, labels, view, options) {
  const sample = report.samples[index];
  const [width, height] = sample.size;
  const shown = labels.filter(label => (options.dropped || !label.dropped) && (options.words || !label.quad));
  const items = drawn(shown, view);
  const font = Math.max(width, height) / (items.length > 8 ? 40 : 30) * (options.scale || 1);
  const masks = svg("g", {class: "masks"}), lines = svg("g", {}), chips = svg("g", {});
  const placed = [], masked = new Set(), numbered = new Set();
  for (const {label, words} of items) {
    const style = label.quad ? {...report.quad} : styleOf(label.object);
    style.faint = options.matches && !options.matches(label);
    const mask = label.mask ?? maskOf(shown, label);
    if (options.masks && mask !== undefined && !masked.has(mask) && !label.dropped && !style.faint) {
      masks.append(svg("path", {d: sample.masks[mask], fill: style.colour, stroke: style.colour}));
      masked.add(mask);
    }
    lines.append(outline(label, style));
    if (!words || !options.labels || style.faint) continue;
    // Several phrases of a text may be about one object, whose number stands there once.
    if (view.granularity && numbered.has(words)) continue;
    numbered.add(words);
    const short = words.length > LONGEST ? words.slice(0, LONGEST - 3) + "..." : words;
    const box = label.box || boundsOf(label.quad);
    chips.append(chip(place(box, font * (ems(short) + 0.7), font * 1.4, sample.size, placed), short, font, style));
  }
  return svg("svg", {viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": `${sample.key}, ${view.title}, ${items.length} labels`},
    svg("image", {href: imageOf(index), width, height, preserveAspectRatio: "none"}), masks, lines, chips);
}

// Of a region without a mask: the mask of a triplet on the same object.
function maskOf(labels, label) {
  const same = labels.find(other => other.object === label.object && other.mask !== undefined && !other.dropped);
  return label.object === undefined || !same ? undefined : same.mask;
}

// A text as a paragraph; a phrase is underlined in the colour of its object and followed by its number.
function paragraph({text, triplets, numbers}) {
  const line = html("p", {class: "text"});
  let position = 0;
  const characters = [...text.text];  // positions count characters as Python does
  for (const start of new Set(triplets.map(triplet => triplet.start))) {
    const same = triplets.filter(triplet => triplet.start === start);
    const end = same[0].end;
    if (start < position || end > characters.length) continue;
    const mark = html("mark", {style: "--c: " + styleOf(same[0].object).colour}, characters.slice(start, end).join(""));
    const numbersHere = [...new Set(same.map(triplet => numbers.get(triplet.object)))];
    line.append(characters.slice(position, start).join(""), mark, html("sup", {}, numbersHere.join(",")));
    position = end;
  }
  line.append(characters.slice(position).join(""));
  return line;
}
