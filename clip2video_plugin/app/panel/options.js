// What a search can be told beside its sentence, folded into one line that says what is set.
const { createElement: h, useEffect, useRef, useState } = window.React;
const { Box, Button, Collapse, FormControlLabel, MenuItem, Slider, Switch, TextField } = window.__mui__;

const PLAIN = { textTransform: "none" };
const LABEL = { fontSize: 12, color: "text.secondary", whiteSpace: "nowrap" };

// A number in [0, 1] between two words; it is told when the hand lets go.
function Between({ name, left, right, value, shown, tell, disabled }) {
  const [moved, setMoved] = useState(value);
  useEffect(() => setMoved(value), [value]);
  return h(
    Box,
    {
      sx: {
        display: "grid",
        gridTemplateColumns: "96px minmax(120px, 420px) 110px 44px",
        alignItems: "center",
        columnGap: 1.5,
        height: 32,
      },
    },
    h(Box, { sx: { ...LABEL, textAlign: "right" } }, left),
    h(Slider, {
      size: "small",
      min: 0,
      max: 1,
      step: 0.01,
      value: moved,
      disabled,
      "aria-label": name,
      onChange: (_, next) => setMoved(next),
      onChangeCommitted: (_, next) => tell(next),
    }),
    h(Box, { sx: LABEL }, typeof right === "function" ? right(moved) : right),
    h(Box, { sx: { fontSize: 12, textAlign: "right", fontVariantNumeric: "tabular-nums" } }, shown(moved)),
  );
}

// From which score on a video fits what was negated.
export function Threshold({ value, tell }) {
  return h(Between, {
    name: "threshold of not",
    left: "“not” drops",
    right: (moved) => (value == null ? "" : `${two(moved)} and above`),
    value: value ?? 0,
    shown: () => "",
    disabled: value == null,
    tell: (next) => tell("on_option", { path: "options.threshold", value: next }),
  });
}

// A text that is told when it is entered or left.
function Typed({ label, hint, value, tell }) {
  const [typed, setTyped] = useState(value ?? "");
  const touched = useRef(false); // what is being typed is not taken away by an answer
  useEffect(() => void (touched.current || setTyped(value ?? "")), [value]);
  const done = () => {
    touched.current = false;
    if (typed.trim() !== (value ?? "")) tell(typed.trim());
  };
  return h(TextField, {
    size: "small",
    label,
    placeholder: hint,
    value: typed,
    onChange: (event) => {
      touched.current = true;
      setTyped(event.target.value);
    },
    onBlur: done,
    onKeyDown: (event) => event.key === "Enter" && done(),
    InputLabelProps: { shrink: true },
    sx: { flex: 1 },
  });
}

const two = (value) => value.toFixed(2);
const percent = (value) => (value ? `${Math.round(100 * value)} %` : "off");

export default function Options({ open, data, options, view, tell }) {
  const chosen = data.options ?? {};
  const set = (path) => (value) => tell("on_option", { path, value });
  const menus = ["brain_key", "k", "only_tag", "length"].map((name) => {
    const { default: usual, view: menu } = options[name];
    return { name, label: menu.label, value: chosen[name] ?? usual, choices: menu.choices };
  });
  const row = { display: "flex", flexWrap: "wrap", gap: 1, alignItems: "center" };
  return h(
    Collapse,
    { in: open, unmountOnExit: true, sx: { mb: open ? 0 : -1 } },
    h(
      Box,
      {
        sx: {
          display: "flex",
          flexDirection: "column",
          gap: 1,
          p: 1,
          border: "1px solid",
          borderColor: "divider",
          borderRadius: 1,
        },
      },
      h(
        Box,
        { sx: { display: "grid", gridTemplateColumns: "repeat(auto-fit, minmax(110px, 1fr))", gap: 1, pt: 0.5 } },
        menus.map(({ name, label, value, choices }) =>
          h(
            TextField,
            {
              key: name,
              select: true,
              size: "small",
              label,
              value,
              "data-cy": `clip2video-${name}`,
              onChange: (event) => set(`options.${name}`)(event.target.value),
            },
            choices.map((choice) => h(MenuItem, { key: choice.value, value: choice.value }, choice.label)),
          ),
        ),
      ),
      view.weight != null &&
        h(Between, {
          name: "weight",
          left: "motion",
          right: "appearance",
          value: view.weight,
          shown: two,
          tell: set("weight"),
        }),
      h(Between, {
        name: "diversity",
        left: "the nearest",
        right: "different ones",
        value: chosen.diversity ?? 0,
        shown: two,
        tell: set("options.diversity"),
      }),
      view.calibrated
        ? h(Between, {
            name: "minimum confidence",
            left: "all hits",
            right: "only sure ones",
            value: chosen.min_confidence ?? 0,
            shown: percent,
            tell: set("options.min_confidence"),
          })
        : h(
            Box,
            { sx: { ...row, height: 32 } },
            h(
              Button,
              { size: "small", variant: "outlined", sx: PLAIN, onClick: () => tell("on_calibrate") },
              "Calibrate",
            ),
            h(Box, { sx: LABEL }, "to see how sure each hit is, and to leave out what is not"),
          ),
      h(
        Box,
        { sx: row },
        h(Typed, {
          label: "Query bank (QB-Norm)",
          hint: "a text file with a query a line",
          value: chosen.bank,
          tell: set("options.bank"),
        }),
        h(FormControlLabel, {
          label: "all moments of each hit",
          control: h(Switch, {
            size: "small",
            checked: Boolean(chosen.moments),
            onChange: (event) => set("options.moments")(event.target.checked),
          }),
          componentsProps: { typography: { sx: { fontSize: 12 } } },
        }),
      ),
    ),
  );
}
