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
const changesOf = sample => sample.steps.reduce((sum, steps) => sum + steps.length, 0);
const failuresOf = sample => sample.failures[state.round] || [];

// How sure the maker of a label was: its confidence after a merge, else the raw score.
const sureness = label => label.confidence ?? label.score ?? null;

function leastSure(sample) {
  const labels = labelsOf(sample, state.round).filter(label => passes(label) && label.source !== "human");
  const merged = labels.filter(label => label.confidence !== undefined);
  return (merged.length ? merged : labels).reduce((least, label) =>
    sureness(label) !== null && (least === null || sureness(label) < sureness(least)) ? label : least, null);
}

const ORDERS = {
  all: {takes: () => true},
  unsure: {takes: sample => leastSure(sample) !== null, key: sample => sureness(leastSure(sample))},
  changed: {takes: sample => changesOf(sample) > 0, key: sample => -changesOf(sample)},
  failed: {takes: sample => failuresOf(sample).length > 0},
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
  const sample = report.samples[index], least = leastSure(sample);
  const labels = labelsOf(sample, state.round);
  const notes = [];
  if (state.order === "unsure" && least) notes.push(`${sureness(least).toFixed(2)} ${least.phrase || least.text}`);
  if (changesOf(sample)) notes.push(plural(changesOf(sample), "change"));
  if (failuresOf(sample).length) notes.push("! " + failuresOf(sample)[0]);
  const texts = labels.filter(label => label.kind === "texts");
  const text = texts.find(label => isFiltered() && passes(label)) || texts.find(label => !label.dropped);
  const button = html("button", {class: "sample", type: "button", "data-index": index},
    picture(index, labels, cardView(labels), {labels: true, words: true, masks: false, scale: 1.35,
      dropped: state.wanted.reason !== KEPT, matches: isFiltered() ? label => passes(label) : null}),
    html("span", {class: "key"}, sample.key),
    html("span", {class: "notes"}, notes.join("; ") || (text ? text.text : "no text")));
  button.onclick = () => openViewer(index, state.order === "changed" ? "compare" : "six");
  return button;
}

function showPage() {
  const pages = Math.max(1, Math.ceil(state.list.length / PAGE));
  state.page = Math.min(Math.max(state.page, 0), pages - 1);
  const first = state.page * PAGE;
  byId("cards").replaceChildren(...state.list.slice(first, first + PAGE).map(card));
  byId("page").textContent = `page ${state.page + 1} of ${pages}`;
  byId("previous-page").disabled = state.page === 0;
  byId("next-page").disabled = state.page === pages - 1;
}

function show() {
  for (const name of Object.keys(FILTERS)) state.wanted[name] = filterOf(name).value;
  fillFilters();
  const found = report.samples.map(sample => labelsOf(sample, state.round).filter(label => passes(label)).length);
  const inFilter = [...report.samples.keys()].filter(index => found[index] > 0 || !isFiltered());
  for (const [name, order] of Object.entries(ORDERS)) {
    const taken = inFilter.filter(index => order.takes(report.samples[index]));
    byId("order-" + name).querySelector("b").textContent = taken.length;
    byId("order-" + name).setAttribute("aria-pressed", name === state.order);
    if (name !== state.order) continue;
    if (order.key) {
      const keys = new Map(taken.map(index => [index, order.key(report.samples[index])]));
      taken.sort((one, other) => keys.get(one) - keys.get(other));
    }
    state.list = taken;
  }
  const labels = state.list.reduce((sum, index) => sum + found[index], 0);
  byId("count").textContent = `${plural(state.list.length, "sample")}, ${plural(labels, "label")}`;
  byId("clear").disabled = !isFiltered();
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
