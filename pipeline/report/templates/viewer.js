// The viewer: one sample in six views, in one view, before and after a round, or as a table.

const viewer = {at: 0, round: 0, mode: "six", view: VIEWS[2]};
const dialog = byId("viewer");
const TRUTH = report.rounds.length;  // the truth is kept behind the rounds

const nameOf = round => round === TRUTH ? "truth" : `${report.rounds[round].name} ${report.rounds[round].status}`;

// The round that a round began with; the truth is compared with the head. Undefined for round 0.
const parentOf = round => round === TRUTH ? report.head : report.rounds[round].parent ?? undefined;

function roundsOf(sample) {
  return [...sample.rounds.keys()].filter(round => sample.rounds[round] !== null);
}

function options() {
  const checked = name => byId("show-" + name).checked;
  // One large picture needs no larger letters than six small ones, which a narrow window does not have.
  const scale = viewer.mode !== "six" && dialog.clientWidth > 900 ? 0.62 : 1;
  return {scale, masks: checked("masks"), labels: checked("labels"), words: checked("words"), dropped: checked("dropped"),
    matches: isFiltered() ? label => passes(label) : null};
}

function openViewer(index, mode) {
  viewer.at = Math.max(0, state.list.indexOf(index));
  if (!state.list.includes(index)) state.list = [index, ...state.list];
  Object.assign(viewer, {mode, round: state.round});
  if (!dialog.open) dialog.showModal();
  showSample();
}

function figure(index, labels, view, title) {
  const kept = labels.filter(label => !label.dropped);
  const texts = view.granularity ? groundedTexts(kept, view.granularity) : [];
  const missing = view.granularity && !texts.length ? [html("p", {class: "quiet"}, "no " + view.title)] : [];
  const [width, height] = report.samples[index].size;
  return html("figure", {class: "view", style: `--ratio: ${width / height}`},
    picture(index, labels, view, options()), html("figcaption", {}, title), ...texts.map(paragraph), ...missing);
}

function sixViews(index, labels) {
  const grid = html("div", {class: "six"});
  for (const view of VIEWS) {
    const one = figure(index, labels, view, `(${view.letter}) ${view.title}`);
    one.tabIndex = 0;
    one.onclick = () => setMode("one", view);
    one.onkeydown = event => { if (event.key === "Enter") setMode("one", view); };
    grid.append(one);
  }
  return grid;
}

// The round to compare with its parent: the chosen one or, if that began with none, the next that has one.
function comparedRound(sample) {
  const able = roundsOf(sample).filter(round => sample.rounds[parentOf(round)]);
  return able.includes(viewer.round) ? viewer.round : able[0];
}

function compare(index) {
  const sample = report.samples[index], round = comparedRound(sample);
  if (round === undefined) return html("p", {class: "quiet"}, "There is one round only, so nothing to compare.");
  const sides = [parentOf(round), round].map(side => labelsOf(sample, side));
  // A text view of a sample without such a text draws nothing, which would look like a fault.
  const view = sides.some(labels => drawn(labels, viewer.view).length) ? viewer.view : VIEWS[2];
  const [before, after] = sides.map(labels => html("div", {class: "layer"}, picture(index, labels, view, options())));
  after.classList.add("after");
  const slider = html("input", {type: "range", min: 0, max: 100, value: 50, id: "slider", "aria-label": "from before to after"});
  const stack = html("div", {class: "stack"}, before, after, html("i", {class: "cut"}));
  slider.oninput = () => stack.style.setProperty("--cut", slider.value + "%");
  const steps = sample.steps[round] || [];
  const list = html("ul", {class: "steps"}, ...steps.map(step =>
    html("li", {}, html("span", {class: "status " + step.what}, step.what), " ", step.line)));
  return html("div", {class: "compare", style: "--ratio: " + sample.size[0] / sample.size[1]},
    html("div", {class: "sides"}, html("b", {}, "before: " + nameOf(parentOf(round))), html("b", {}, "after: " + nameOf(round))),
    stack, slider, html("h4", {}, round === TRUTH ? "" : `${plural(steps.length, "change")} by round ${report.rounds[round].name}`), list,
    html("div", {class: "sides"}, ...sides.map(textsOf)));
}

function textsOf(labels) {
  const texts = html("div", {});
  for (const label of labels) {
    if (label.kind !== "texts" || label.dropped) continue;
    texts.append(html("p", {class: "text"}, html("small", {}, label.granularity.replaceAll("_", " ") + " "), label.text));
  }
  return texts;
}

const COLUMNS = {
  type: label => report.kinds[label.kind],
  says: label => label.text || (label.brief && label.brief !== label.phrase ? `${label.phrase}: ${label.brief}` : label.phrase),
  source: label => label.source,
  score: label => label.score,
  confidence: label => label.confidence,
  "log-prob.": label => label.support,
  agreement: label => label.agreement,
  disagree: label => (label.disputes || []).join(", "),
  dropped: label => (label.dropped || "").replaceAll("_", " "),
  id: label => label.id,
};

function table(labels) {
  const rows = labels.map(label => html("tr", {class: isFiltered() && !passes(label) ? "faint" : ""},
    ...Object.values(COLUMNS).map(value => html("td", {}, value(label) ?? "-"))));
  return html("div", {class: "scroll"}, html("table", {},
    html("thead", {}, html("tr", {}, ...Object.keys(COLUMNS).map(name => html("th", {}, name)))), html("tbody", {}, ...rows)));
}

function showSample() {
  const index = state.list[viewer.at], sample = report.samples[index];
  const rounds = roundsOf(sample);
  if (!rounds.includes(viewer.round)) viewer.round = rounds[0];
  const labels = labelsOf(sample, viewer.round);
  byId("viewer-key").textContent = sample.key;
  byId("viewer-place").textContent = `${viewer.at + 1} of ${state.list.length}, ${sample.size.join(" x ")} pixels`;
  byId("viewer-rounds").replaceChildren(...rounds.map(round => {
    const button = html("button", {type: "button", "aria-pressed": round === viewer.round}, nameOf(round));
    button.onclick = () => { viewer.round = round; showSample(); };
    return button;
  }));
  for (const button of byId("viewer-modes").children) button.setAttribute("aria-pressed", button.value === viewer.mode);
  const failures = (sample.failures[viewer.round] || []).map(line => html("p", {class: "failure"}, "failed in " + line));
  const content = {
    six: () => sixViews(index, labels),
    one: () => figure(index, labels, viewer.view, `(${viewer.view.letter}) ${viewer.view.title}`),
    compare: () => compare(index),
    table: () => table(labels),
  }[viewer.mode]();
  byId("viewer-content").replaceChildren(...failures, content);
  byId("viewer-content").dataset.mode = viewer.mode;
  byId("viewer-shows").hidden = viewer.mode === "table";
  byId("previous").disabled = viewer.at === 0;
  byId("next").disabled = viewer.at === state.list.length - 1;
  history.replaceState(null, "", "#" + encodeURIComponent(sample.key));
}

function setMode(mode, view) {
  Object.assign(viewer, {mode, view: view || viewer.view});
  showSample();
}

function step(by) {
  if (state.list[viewer.at + by] === undefined) return;
  viewer.at += by;
  showSample();
}

function onKey(event) {
  if (!dialog.open) return;
  const isTyping = event.target.matches("input[type=range], select");
  if (event.altKey || event.ctrlKey || event.metaKey || (isTyping && event.key.startsWith("Arrow"))) return;
  const turns = {ArrowLeft: () => step(-1), ArrowRight: () => step(1), 0: () => setMode("six"), b: () => setMode("compare"),
    l: () => setMode("table")};
  const rounds = roundsOf(report.samples[state.list[viewer.at]]);
  const turn = {ArrowUp: -1, ArrowDown: 1}[event.key];
  const view = VIEWS["123456".indexOf(event.key)];
  const next = rounds[rounds.indexOf(viewer.round) + turn];
  if (turns[event.key]) turns[event.key]();
  else if (view) setMode(viewer.mode === "compare" ? "compare" : "one", view);
  else if (next !== undefined) { viewer.round = next; showSample(); }
  else return;
  event.preventDefault();
}

// On the document: a button that had the focus may be disabled or gone by now.
document.addEventListener("keydown", onKey);
dialog.onclose = () => history.replaceState(null, "", "#");
byId("previous").onclick = () => step(-1);
byId("next").onclick = () => step(1);
byId("close").onclick = () => dialog.close();
for (const button of byId("viewer-modes").children) button.onclick = () => setMode(button.value);
for (const box of document.querySelectorAll("#viewer-shows input")) box.onchange = showSample;
start();
