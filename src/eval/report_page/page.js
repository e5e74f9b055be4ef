"use strict";
// Everything that comes from results is put into the page as text, never as markup.
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const find = (id) => document.getElementById(id);
  const PAGE_SIZE = 50;
  const SIGNIFICANCE = 0.05;
  const SETTING_TITLES = { normal: "Normal", oracle: "Oracle" };

  /** An element with attributes and children; strings become text. */
  function make(tag, attributes = {}, ...children) {
    const element = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) {
      if (value === false || value === null || value === undefined) continue;
      element.setAttribute(name, value === true ? "" : value);
    }
    element.append(...children.filter((child) => child !== null));
    return element;
  }
  const percent = (value, digits) => (100 * value).toFixed(digits);
  const pText = (p) => (p < 0.001 ? "p < 0.001" : "p = " + p.toFixed(3));
  const plural = (count, one) => `${count} ${one}${count === 1 ? "" : "s"}`;
  const different = (values) => [...new Set(values)];
  const scrollOf = (element) => element.scrollIntoView({ block: "nearest" });

  // Results -------------------------------------------------------------------------------------

  const protocol = () => find("protocol").value;

  /** Metrics of the chosen protocol that some method has in the block. */
  function metricsOf(block) {
    return data.metrics
      .map((metric, index) => ({ ...metric, index }))
      .filter((metric) => metric.protocol === "" || metric.protocol === protocol())
      .filter((metric) => block.estimates.some((of) => of && of[metric.index]));
  }

  function scoreCell(estimate, isBest, isFirst) {
    const cell = make("td", { class: isFirst ? "first" : null });
    if (!estimate) return cell.append("–"), cell;
    cell.append(make("span", { class: isBest ? "best" : null }, percent(estimate.value, 2)));
    if ("low" in estimate) {
      cell.append(make("span", { class: "interval" }, `${percent(estimate.low, 1)}–${percent(estimate.high, 1)}`));
    }
    if ("p" in estimate) {
      const sign = estimate.difference > 0 ? "+" : "";
      const isSignificant = estimate.p < SIGNIFICANCE;
      cell.append(make("span", {
        class: "p" + (isSignificant ? " significant" : ""),
        title: `difference to ${data.baseline}: ${sign}${percent(estimate.difference, 2)} ` +
          `[${percent(estimate.difference_low, 1)}, ${percent(estimate.difference_high, 1)}], ` +
          `on ${plural(estimate.num_paired, "question")}`,
      }, pText(estimate.p) + (isSignificant ? " *" : "")));
    }
    return cell;
  }

  function scoreTable(benchmark) {
    const blocks = data.blocks.filter((block) => block.benchmark === benchmark);
    const groups = make("tr", {}, make("td"));
    const titles = make("tr", {}, make("th", { scope: "col", style: "text-align:left" }, "method"));
    const columns = [];
    for (const block of blocks) {
      const metrics = metricsOf(block);
      groups.append(make("th", { colspan: metrics.length, scope: "colgroup", class: "first" }, SETTING_TITLES[block.setting]));
      metrics.forEach((metric, place) => {
        titles.append(make("th", { scope: "col", class: place === 0 ? "first" : null, title: metric.name }, metric.title));
        const values = block.estimates.map((of) => (of && of[metric.index] ? of[metric.index].value : -1));
        columns.push({ block, index: metric.index, isFirst: place === 0, best: Math.max(...values), isSpread: different(values.filter((v) => v >= 0)).length > 1 });
      });
    }
    const body = make("tbody");
    data.methods.forEach((method, m) => {
      if (!blocks.some((block) => block.estimates[m])) return;
      const row = make("tr", {}, make("th", { scope: "row" }, method.name,
        method.name === data.baseline ? make("span", { class: "tag" }, "baseline") : null));
      for (const column of columns) {
        const of = column.block.estimates[m];
        const estimate = of ? of[column.index] : null;
        row.append(scoreCell(estimate, column.isSpread && estimate && estimate.value === column.best, column.isFirst));
      }
      body.append(row);
    });
    return make("div", { class: "table-box", tabindex: "0", role: "region", "aria-label": "Results on " + benchmark },
      make("table", { class: "scores" }, make("caption", {}, benchmark), make("thead", {}, groups, titles), body));
  }

  function drawResults() {
    find("tables").replaceChildren(...different(data.blocks.map((block) => block.benchmark)).map(scoreTable));
    find("legend").textContent = data.legend[protocol()];
  }

  // Examples ------------------------------------------------------------------------------------

  const FILTERS = ["q", "benchmark", "setting", "method", "outcome", "by", "differ"];
  const state = { page: 0, current: 0, order: "", only: false, shown: [] };

  function fillChoices(id, all, values, titles = Object.create(null)) {
    find(id).replaceChildren(make("option", { value: "" }, all),
      ...values.map((value) => make("option", { value }, titles[value] || value)));
  }

  const scoresOf = (answer) => (protocol() === "first" ? answer.first : answer.best);
  /** Of an answer: right, wrong or, where the method has none, null. */
  function isRight(answer) {
    if (!answer) return null;
    const [exactMatch, , coverMatch] = scoresOf(answer);
    return (find("by").value === "em" ? exactMatch : coverMatch) === 1;
  }

  function matches(question, filter) {
    const block = data.blocks[question.block];
    if (filter.benchmark && block.benchmark !== filter.benchmark) return false;
    if (filter.setting && block.setting !== filter.setting) return false;
    const verdicts = question.results.map(isRight);
    const known = verdicts.filter((verdict) => verdict !== null);
    if (filter.differ && different(known).length < 2) return false;
    const wanted = filter.outcome === "right";
    if (filter.method !== "") {
      const verdict = verdicts[Number(filter.method)];
      if (verdict === null || (filter.outcome && verdict !== wanted)) return false;
    } else if (filter.outcome && !known.includes(wanted)) {
      return false;
    }
    if (!filter.q) return true;
    const texts = [question.id, question.question, ...question.answers, ...question.results.map((r) => (r ? r.text : ""))];
    return filter.q.split(/\s+/).every((word) => texts.some((text) => text.toLowerCase().includes(word)));
  }

  function currentFilter() {
    return {
      q: find("q").value.trim().toLowerCase(), benchmark: find("benchmark").value, setting: find("setting").value,
      method: find("method").value, outcome: find("outcome").value, differ: find("differ").checked,
    };
  }

  function markOf(answer, name) {
    const verdict = isRight(answer);
    const [kind, sign, word] = verdict === null ? ["absent", "–", "no answer"] : verdict ? ["right", "✓", "right"] : ["wrong", "✗", "wrong"];
    return make("span", { class: "mark " + kind, title: `${name}: ${word}` }, sign);
  }

  function drawList() {
    const filter = currentFilter();
    state.shown = data.questions.filter((question) => matches(question, filter));
    const numPages = Math.max(1, Math.ceil(state.shown.length / PAGE_SIZE));
    state.page = Math.min(state.page, numPages - 1);
    state.current = Math.min(state.current, Math.max(0, state.shown.length - 1));
    const begin = state.page * PAGE_SIZE;
    const end = Math.min(begin + PAGE_SIZE, state.shown.length);
    find("questions").replaceChildren(...state.shown.slice(begin, end).map((question, n) => {
      const block = data.blocks[question.block];
      const button = make("button", { type: "button", "aria-current": begin + n === state.current ? "true" : "false" },
        question.question,
        make("span", { class: "marks" }, ...question.results.map((answer, m) => markOf(answer, data.methods[m].name)),
          data.blocks.length > 1 ? `${block.benchmark}, ${SETTING_TITLES[block.setting]}` : ""));
      button.addEventListener("click", () => show(begin + n));
      return make("li", {}, button);
    }));
    const total = data.questions.length;
    find("count").textContent = state.shown.length === total ? plural(total, "question") : `${state.shown.length} of ${plural(total, "question")}`;
    if (data.num_left_out > 0) find("count").append(` (${data.num_left_out} more are not in this page)`);
    find("page").textContent = state.shown.length ? `${begin + 1}–${end}` : "";
    find("earlier").disabled = state.page === 0;
    find("later").disabled = state.page >= numPages - 1;
    drawDetail();
  }

  function answerCard(method, answer) {
    if (!answer) {
      return make("div", { class: "answer" }, make("div", { class: "name" }, method.name, markOf(answer, method.name)),
        make("p", { class: "facts" }, "did not answer this question"));
    }
    const [em, f1, cem] = scoresOf(answer);
    return make("div", { class: "answer" },
      make("div", { class: "name" }, method.name, markOf(answer, method.name)),
      make("p", { class: "text" }, answer.text === "" ? "(empty)" : answer.text),
      make("div", { class: "facts" }, `EM ${percent(em, 0)} · F1 ${percent(f1, 0)} · CEM ${percent(cem, 0)}` +
        ` · ${plural(answer.selected.length, "document")} read`));
  }

  /** Candidates of all methods: one entry a document, with each method's rank, score and choice. */
  function candidatesOf(question) {
    const entries = new Map();
    question.results.forEach((answer, m) => {
      if (!answer) return;
      const ranks = [];
      answer.ranking.forEach((candidate, rank) => { ranks[candidate] = rank + 1; });
      ranks.forEach((rank, candidate) => {
        const origin = answer.origins.length ? answer.origins[candidate] : candidate;
        const document = answer.documents.length ? answer.documents[candidate] : null;
        const key = document === null ? "origin " + origin : document;
        if (!entries.has(key)) entries.set(key, { document, origin, isGold: false, by: [] });
        const entry = entries.get(key);
        entry.isGold = entry.isGold || answer.positives.includes(candidate);
        entry.by[m] = { rank, score: answer.scores[candidate], isRead: answer.selected.includes(candidate) };
      });
    });
    return [...entries.values()];
  }

  function documentCell(entry) {
    const gold = entry.isGold ? make("span", { class: "chip gold" }, "gold") : null;
    if (entry.document === null) {
      const name = entry.origin < 0 ? `gold document ${-entry.origin}` : `document ${entry.origin + 1} of the record`;
      return make("td", {}, gold, make("span", { class: "quiet" }, name + " (its text was not recorded)"));
    }
    const text = data.documents[entry.document];
    const end = text.indexOf("\n");
    const title = end > 0 && end < 160 ? text.slice(0, end) : "";
    const rest = title ? text.slice(end + 1) : text;
    return make("td", {}, make("details", {}, make("summary", {}, gold,
      title ? make("span", { class: "title" }, title) : null, make("span", { class: "text" }, rest))));
  }

  function candidateTable(question) {
    const ranking = question.results.map((answer, m) => m).filter((m) => question.results[m] && question.results[m].ranking.length);
    if (!ranking.length) return make("p", { class: "quiet" }, "No method had candidates for this question.");
    const order = ranking.includes(Number(state.order)) && state.order !== "" ? Number(state.order) : ranking[0];
    const worst = 1e9;
    const rankBy = (entry, m) => (entry.by[m] ? entry.by[m].rank : worst);
    const all = candidatesOf(question).sort((a, b) => rankBy(a, order) - rankBy(b, order));
    const shown = state.only ? all.filter((entry) => entry.isGold || entry.by.some((of) => of && of.isRead)) : all;
    const head = make("tr", {}, make("th", { scope: "col" }, "document"),
      ...ranking.map((m) => make("th", { scope: "col" }, data.methods[m].name)));
    const rows = shown.map((entry) => make("tr", {}, documentCell(entry), ...ranking.map((m) => {
      const of = entry.by[m];
      if (!of) return make("td", {}, "–");
      return make("td", { title: of.isRead ? "read by the generator" : null },
        make("span", { class: of.isRead ? "read" : null }, "#" + of.rank),
        of.score === undefined ? null : make("span", { class: "score" }, of.score.toFixed(Math.abs(of.score) < 10 ? 3 : 1)));
    })));
    const chooser = make("select", {}, ...ranking.map((m) => make("option", { value: String(m), selected: m === order }, data.methods[m].name)));
    chooser.addEventListener("change", () => { state.order = chooser.value; drawDetail(); });
    const only = make("input", { type: "checkbox", checked: state.only });
    only.addEventListener("change", () => { state.only = only.checked; drawDetail(); });
    const found = all.filter((entry) => entry.isGold).length;
    const numGold = Math.max(...ranking.map((m) => question.results[m].num_gold));
    return make("div", {},
      make("div", { class: "tools" }, ranking.length > 1 ? make("label", {}, "In the order of", chooser) : null,
        make("label", { class: "check" }, only, "only gold and read ones")),
      numGold > found ? make("p", { class: "quiet" }, `${numGold - found} of ${plural(numGold, "gold document")} is not among the candidates.`) : null,
      make("div", { class: "table-box", tabindex: "0", role: "region", "aria-label": "Candidates" },
        make("table", { class: "candidates" }, make("thead", {}, head), make("tbody", {}, ...rows))),
      make("p", { class: "quiet" }, make("span", { class: "chip" }, "#1"), "rank, with its score where the method has one; marked ranks were read by the generator."));
  }

  function drawDetail() {
    const question = state.shown[state.current];
    if (!question) {
      const why = data.questions.length ? "No question passes these filters." : "No predictions were found beside the scores.";
      find("detail").replaceChildren(make("p", { class: "empty" }, why));
      return;
    }
    const block = data.blocks[question.block];
    find("detail").replaceChildren(
      make("div", { class: "quiet" }, [block.benchmark, SETTING_TITLES[block.setting], question.id].filter(Boolean).join(" · ")),
      make("p", { class: "question" }, question.question),
      make("div", {}, ...question.answers.map((answer, n) => make("span", { class: n === 0 ? "chip gold" : "chip alias", title: n === 0 ? "first gold answer" : "another gold answer" }, answer))),
      make("h3", {}, "Answers"),
      make("div", { class: "answers" }, ...data.methods.map((method, m) => (block.estimates[m] ? answerCard(method, question.results[m]) : null))),
      make("h3", {}, "Candidates"),
      candidateTable(question));
  }

  // State in the address: a link shows the same question under the same filters -------------------

  function writeAddress() {
    const parts = new URLSearchParams();
    for (const id of FILTERS) {
      const element = find(id);
      const value = id === "differ" ? (element.checked ? "1" : "") : element.value;
      if (value && !(id === "by" && value === "em")) parts.set(id, value);
    }
    if (state.current > 0) parts.set("at", String(state.current + 1));
    history.replaceState(null, "", "#" + parts.toString());
  }

  function readAddress() {
    const parts = new URLSearchParams(location.hash.slice(1));
    for (const id of FILTERS) {
      if (id === "differ") find(id).checked = parts.get(id) === "1";
      else if (parts.has(id) || id === "q") find(id).value = parts.get(id) || "";
      if (find(id).tagName === "SELECT" && find(id).selectedIndex < 0) find(id).selectedIndex = 0;
    }
    if (parts.has("protocol")) find("protocol").value = parts.get("protocol") === "best" ? "best" : "first";
    if (parts.has("theme")) setTheme(parts.get("theme"));
    state.current = Math.max(0, Number(parts.get("at") || 1) - 1 || 0);
    state.page = Math.floor(state.current / PAGE_SIZE);
  }

  function show(place) {
    if (place < 0 || place >= state.shown.length) return;
    state.current = place;
    state.page = Math.floor(place / PAGE_SIZE);
    drawList();
    writeAddress();
    const button = find("questions").querySelector('[aria-current="true"]');
    if (button) { button.focus({ preventScroll: true }); scrollOf(button); }
  }

  function filterAgain() {
    state.current = state.page = 0;
    drawList();
    writeAddress();
  }

  function setTheme(theme) {
    const known = theme === "light" || theme === "dark";
    find("theme").value = known ? theme : "";
    if (known) document.documentElement.dataset.theme = theme;
    else delete document.documentElement.dataset.theme;
  }

  function turnPage(by) {
    const place = (state.page + by) * PAGE_SIZE;
    if (place >= 0 && place < state.shown.length) show(place);
  }

  function onKey(event) {
    const isTyping = ["INPUT", "SELECT", "TEXTAREA"].includes(event.target.tagName);
    if (event.key === "Escape" && isTyping) return event.target.blur();
    if (isTyping || event.ctrlKey || event.metaKey || event.altKey) return;
    const actions = {
      "/": () => find("q").focus(), j: () => show(state.current + 1), k: () => show(state.current - 1),
      "[": () => turnPage(-1), "]": () => turnPage(1),
    };
    if (!actions[event.key]) return;
    event.preventDefault();
    actions[event.key]();
  }

  const blocks = data.blocks;
  find("summary").textContent = [plural(data.methods.length, "method"), different(blocks.map((b) => b.benchmark)).join(", "),
    different(blocks.map((b) => SETTING_TITLES[b.setting])).join(" and "), data.baseline ? "baseline: " + data.baseline : ""].filter(Boolean).join(" · ");
  find("notes").replaceChildren(...data.notes.map((note) => make("li", {}, note)));
  fillChoices("benchmark", "all", different(blocks.map((block) => block.benchmark)));
  fillChoices("setting", "all", different(blocks.map((block) => block.setting)), SETTING_TITLES);
  fillChoices("method", "any", data.methods.map((_, m) => String(m)), data.methods.map((method) => method.name));
  find("protocol").value = data.protocol;
  readAddress();
  drawResults();
  drawList();

  let timer = 0;
  find("filters").addEventListener("submit", (event) => event.preventDefault());
  find("filters").addEventListener("input", () => { clearTimeout(timer); timer = setTimeout(filterAgain, 100); });
  find("reset").addEventListener("click", () => { find("filters").reset(); filterAgain(); });
  find("earlier").addEventListener("click", () => turnPage(-1));
  find("later").addEventListener("click", () => turnPage(1));
  find("protocol").addEventListener("change", () => { drawResults(); drawList(); });
  find("theme").addEventListener("change", () => setTheme(find("theme").value));
  document.querySelectorAll("nav a").forEach((link) => link.addEventListener("click", (event) => {
    event.preventDefault();  // the address belongs to the filters
    document.querySelector(link.getAttribute("href")).scrollIntoView();
  }));
  document.addEventListener("keydown", onKey);
  addEventListener("hashchange", () => { readAddress(); drawList(); });
})();
