// The gallery: filters, orders, pages of cards. `viewer.js` shows one sample.

const report = JSON.parse(document.getElementById("samples").textContent);
const PAGE = 24;
const KEPT = "";  // the value of the reason filter for labels that are not dropped
const ANY_REASON = "*";
const FILTERS = {
  source: label => [label.source],
  kind: label => [label.kind],
  class: label => label.kind === "regions" ? [label.phrase] : [],
  reason: label => label.dropped ? [label.dropped, ANY_REASON] : [KEPT],
  dispute: label => label.disputes || [],
};
const state = {round: report.head, order: "all", page: 0, list: [], wanted: {}};
const byId = id => document.getElementById(id);
const filterOf = name => byId("filter-" + name);
const plural = (n, noun) => `${n.toLocaleString("en")} ${noun}${n === 1 ? "" : "s"}`;

function labelsOf(sample, round) {
  return (sample.rounds[round] || []).map(number => sample.labels[number]);
}

// Whether a label passes all filters, or all but one.
function passes(label, except) {
  return Object.entries(FILTERS).every(([name, valuesOf]) => {
    const wanted = state.wanted[name];
    const isOpen = name === except || (wanted === "" && name !== "reason");
    return isOpen || valuesOf(label).includes(wanted);
  });
}

const isFiltered = () => Object.values(state.wanted).some(wanted => wanted !== "");
const changesOf = sample => sample.steps[state.round].length;
const failuresOf = sample => sample.failures[state.round] || [];

// How sure the maker of a label was: its confidence after a merge, else the agreement of an ensemble, else the raw score.
const sureness = label => label.confidence ?? label.agreement ?? label.score ?? null;

// The kept box of a machine that its maker was least sure of; among those that pass the filters, if some do.
function leastSure(sample) {
  const boxes = labelsOf(sample, state.round).filter(label =>
    label.kind === "regions" && !label.dropped && label.source !== "human" && sureness(label) !== null);
  const asked = boxes.filter(label => passes(label));
  return (asked.length ? asked : boxes).reduce((least, label) =>
    least === null || sureness(label) < sureness(least) ? label : least, null);
}

const ranked = name => report.rounds[state.round][name];
const valueOf = (name, index) => ranked(name).find(entry => entry.sample === index).value;

// What each page shows: numbers of samples. The rankings are of all samples of the round, not only of those in this file.
const ORDERS = {
  all: () => [...report.samples.keys()],
  unsure: () => ranked("unsure").map(entry => entry.sample),
  changed: () => ranked("changed").map(entry => entry.sample),
  failed: () => [...new Set(report.failed.map(failure => failure.sample).filter(index => index !== null))],
};

// The choices of every filter, with how many labels each leaves beside the other filters.
function fillFilters() {
  for (const [name, valuesOf] of Object.entries(FILTERS)) {
    const counts = new Map();
    for (const sample of report.samples) {
      for (const label of labelsOf(sample, state.round)) {
        if (!passes(label, name)) continue;
        for (const value of valuesOf(label)) counts.set(value, (counts.get(value) || 0) + 1);
      }
    }
    const select = filterOf(name), chosen = select.value;
    if (chosen && !counts.has(chosen)) counts.set(chosen, 0);
    const values = [...counts].filter(([value]) => value !== KEPT && value !== ANY_REASON);
    values.sort((one, other) => other[1] - one[1] || one[0].localeCompare(other[0]));
    const first = name === "reason"
      ? [new Option(`kept labels (${counts.get(KEPT) || 0})`, KEPT), new Option(`dropped, any reason (${counts.get(ANY_REASON) || 0})`, ANY_REASON)]
      : [new Option("any", "")];
    const title = value => name === "kind" ? report.kinds[value] : name === "reason" ? value.replaceAll("_", " ") : value;
    select.replaceChildren(...first, ...values.map(([value, n]) => new Option(`${title(value)} (${n})`, value)));
    select.value = chosen;
    select.disabled = select.options.length === 1;
  }
}

// The view in which a card shows what the filters ask for: triplets are drawn with their text only.
function cardView(labels) {
  const asked = labels.filter(label => passes(label));
  if (!isFiltered() || asked.some(label => ["regions", "text_regions"].includes(label.kind))) return VIEWS[2];
  const texts = new Set(asked.map(label => label.text_id || label.id));
  const granularities = labels.filter(label => texts.has(label.id)).map(label => label.granularity);
  return VIEWS.find(view => granularities.includes(view.granularity)) || VIEWS[2];
}

function card(index) {
  const sample = report.samples[index];
  const labels = labelsOf(sample, state.round);
  const notes = [];
  if (state.order === "unsure") {
    const least = leastSure(sample);
    notes.push(`doubt ${valueOf("unsure", index).toFixed(2)}`);
    if (least) notes.push(`least sure: ${least.phrase} ${sureness(least).toFixed(2)}`);
  }
  if (changesOf(sample)) notes.push(plural(changesOf(sample), "change"));
  if (failuresOf(sample).length) notes.push("! " + failuresOf(sample)[0]);
  const texts = labels.filter(label => label.kind === "texts");
  const text = texts.find(label => isFiltered() && passes(label)) || texts.find(label => !label.dropped);
  const button = sampleButton(index, sample.key, html("span", {class: "notes"}, notes.join("; ") || (text ? text.text : "no text")));
  button.onclick = () => openViewer(index, state.order === "changed" ? "compare" : "six");
  return button;
}

function sampleButton(index, key, ...notes) {
  const [width, height] = report.samples[index].size;
  const labels = labelsOf(report.samples[index], state.round);
  // A card is 4 by 3: a higher picture is drawn smaller, so its letters are larger.
  const scale = width * 3 < height * 4 ? 1.8 : 1.35;
  return html("button", {class: "sample", type: "button", "data-index": index},
    picture(index, labels, cardView(labels), {labels: true, words: true, masks: false, scale,
      dropped: state.wanted.reason !== KEPT, matches: isFiltered() ? label => passes(label) : null}),
    html("span", {class: "key"}, key), ...notes);
}

// A failure: with the picture of the sample, if it is in this file; an image that did not come in has none.
function failureCard(failure) {
  const where = failure.stage === "ingest" ? "did not come in" : `failed in ${failure.stage}`;
  const notes = [
    html("span", {class: "reason"}, `${where}: ${failure.reason.replaceAll("_", " ")}`),
    ...(failure.detail ? [html("span", {class: "detail"}, failure.detail)] : []),
    ...(failure.name && failure.name !== failure.key ? [html("span", {class: "detail"}, "file: " + failure.name)] : []),
  ];
  if (failure.sample === null) {
    const blank = html("span", {class: "blank"}, failure.stage === "ingest" ? "no picture" : "picture not in this report");
    return html("div", {class: "sample", tabindex: 0}, blank, html("span", {class: "key"}, failure.key), ...notes);
  }
  const button = sampleButton(failure.sample, failure.key, ...notes);
  button.onclick = () => openViewer(failure.sample, "six");
  return button;
}

function showPage() {
  const cards = state.order === "failed"
    ? report.failed.map(failure => () => failureCard(failure))
    : state.list.map(index => () => card(index));
  const pages = Math.max(1, Math.ceil(cards.length / PAGE));
  state.page = Math.min(Math.max(state.page, 0), pages - 1);
  const first = state.page * PAGE;
  byId("cards").replaceChildren(...cards.slice(first, first + PAGE).map(make => make()));
  byId("page").textContent = `page ${state.page + 1} of ${pages}`;
  byId("previous-page").disabled = state.page === 0;
  byId("next-page").disabled = state.page === pages - 1;
}

// One line about what the page shows, and how many samples and labels pass the filters.
function tellPage(labels) {
  const name = report.rounds[state.round].name, n = ranked("unsure").length;
  const all = report.images.toLocaleString("en");
  const shown = ranked("changed").length;
  byId("about").textContent = {
    all: "",
    unsure: n ? `The ${plural(n, "sample")} of round ${name} with the highest doubt, out of all ${all}. Doubt: ${report.measure.replace("1 - (", "1\u00a0\u2212\u00a0(")}.`
      : `No kept box of round ${name} has a confidence or a score.`,
    changed: shown ? `The ${plural(shown, "sample")} in which round ${name} changed most labels, out of all ${all}.`
      : report.rounds[state.round].parent === null ? `Round ${name} is the first one, so it changed nothing. Choose another round.` : `Round ${name} changed no label.`,
    failed: report.failures > report.failed.length
      ? `${plural(report.failures, "failure")} in all; here are the first ones of each stage. fld status lists the others.`
      : "Every image that did not come in, and every sample that a stage could not do.",
  }[state.order];
  byId("count").textContent = state.order === "failed" ? plural(report.failures, "failure")
    : `${plural(state.list.length, "sample")}, ${plural(labels, "label")}`;
}

function show() {
  for (const name of Object.keys(FILTERS)) state.wanted[name] = filterOf(name).value;
  fillFilters();
  const found = report.samples.map(sample => labelsOf(sample, state.round).filter(label => passes(label)).length);
  for (const [name, samplesOf] of Object.entries(ORDERS)) {
    // Failures are no labels, so no filter is about them.
    const taken = samplesOf().filter(index => found[index] > 0 || !isFiltered() || name === "failed");
    byId("order-" + name).querySelector("b").textContent = (name === "failed" ? report.failures : taken.length).toLocaleString("en");
    byId("order-" + name).setAttribute("aria-pressed", name === state.order);
    if (name === state.order) state.list = taken;
  }
  byId("filters").hidden = state.order === "failed";
  byId("clear").disabled = !isFiltered();
  tellPage(state.list.reduce((sum, index) => sum + found[index], 0));
  showPage();
}

function start() {
  for (const name of Object.keys(FILTERS)) filterOf(name).onchange = () => { state.page = 0; show(); };
  for (const name of Object.keys(ORDERS)) {
    byId("order-" + name).onclick = () => { Object.assign(state, {order: name, page: 0}); show(); };
  }
  const rounds = report.rounds.map((round, i) => new Option(`${round.name} ${round.status}`, i));
  byId("filter-round").replaceChildren(...rounds);
  byId("filter-round").value = state.round;
  byId("filter-round").onchange = event => { Object.assign(state, {round: Number(event.target.value), page: 0}); show(); };
  byId("clear").onclick = () => {
    for (const name of Object.keys(FILTERS)) filterOf(name).value = "";
    show();
  };
  byId("previous-page").onclick = () => { state.page -= 1; showPage(); };
  byId("next-page").onclick = () => { state.page += 1; showPage(); };
  byId("cards").onkeydown = event => {
    const cards = [...byId("cards").children], at = cards.indexOf(event.target.closest(".sample"));
    const columns = cards.filter(other => other.offsetTop === cards[0].offsetTop).length;
    const step = {ArrowRight: 1, ArrowLeft: -1, ArrowDown: columns, ArrowUp: -columns}[event.key];
    if (!step || !cards[at + step]) return;
    event.preventDefault();
    cards[at + step].focus();
  };
  show();
  const named = report.samples.findIndex(sample => sample.key === decodeURIComponent(location.hash.slice(1)));
  if (named >= 0) openViewer(named, "six");
}
