// Beside the picture: the zones' names, and the corners of the chosen one as numbers.

import { badge, element } from "./dom.js";

const NAME = /^[A-Za-z0-9][A-Za-z0-9_.-]{0,31}$/;

/**
 * @param {ZoneEditor} editor
 * @param {function()} redraw after another zone is chosen; changes of zones redraw by themselves
 */
export function zoneList(editor, redraw) {
  const names = Object.keys(editor.zones);
  const choose = (name) => {
    editor.choose(name);
    redraw();
  };
  return [
    names.length ? null : element("p", { class: "muted" }, "This lane has no zones yet."),
    element(
      "ul",
      { class: "zone-list" },
      names.map((name) =>
        element(
          "li",
          {},
          element(
            "button",
            { "aria-pressed": String(name === editor.chosen), onclick: () => choose(name) },
            name,
            element("small", {}, `${editor.zones[name].length} corners`),
          ),
        ),
      ),
    ),
    element(
      "div",
      { class: "row" },
      element("button", { onclick: () => editor.add() }, "Add a zone"),
      editor.chosen
        ? element("button", { onclick: () => editor.remove(editor.chosen) }, `Delete ${editor.chosen}`)
        : null,
    ),
    editor.chosen ? _fields(editor, editor.chosen) : null,
  ];
}

function _fields(editor, name) {
  const said = element("p", { role: "alert" });
  const field = element("input", {
    value: name,
    maxlength: 32,
    onchange: () => {
      const wanted = field.value.trim();
      if (wanted === name) return;
      const problem = !NAME.test(wanted)
        ? "A name has letters, digits, '-', '_' and '.', 32 at most."
        : editor.rename(name, wanted)
          ? ""
          : `There is a zone ${wanted} already.`;
      said.replaceChildren(problem ? badge("bad", problem) : "");
    },
  });
  return element(
    "div",
    {},
    element("div", { class: "row" }, element("label", {}, "Name", field)),
    said,
    element(
      "table",
      { class: "corners" },
      element(
        "thead",
        {},
        element(
          "tr",
          {},
          ["Corner", "x %", "y %", "Change"].map((head) => element("th", { scope: "col" }, head)),
        ),
      ),
      element(
        "tbody",
        {},
        editor.zones[name].map((corner, number) => _corner(editor, name, corner, number)),
      ),
    ),
  );
}

function _corner(editor, name, corner, number) {
  const input = (axis) => {
    const field = element("input", {
      type: "number",
      min: 0,
      max: 100,
      step: 0.5,
      value: +(corner[axis] * 100).toFixed(1),
      "aria-label": `corner ${number + 1}, ${axis ? "from the top" : "from the left"}, %`,
      onchange: () => {
        const moved = [...corner];
        moved[axis] = Number(field.value) / 100;
        editor.moveCorner(name, number, ...moved);
      },
    });
    return element("td", {}, field);
  };
  const few = editor.zones[name].length <= 3;
  return element(
    "tr",
    {},
    element("td", {}, String(number + 1)),
    input(0),
    input(1),
    element(
      "td",
      {},
      element(
        "button",
        { "aria-label": `add a corner after ${number + 1}`, onclick: () => editor.insertCorner(name, number) },
        "Add",
      ),
      " ",
      element(
        "button",
        {
          "aria-label": `remove corner ${number + 1}`,
          disabled: few,
          onclick: () => editor.removeCorner(name, number),
        },
        "Remove",
      ),
    ),
  );
}
