// The query line: what happens in the video, and chips for all else that is asked.
const { createElement: h, Fragment, useEffect, useRef, useState } = window.React;
const { Autocomplete, Box, Button, Chip, InputBase, LinearProgress, TextField, Tooltip } = window.__mui__;

// What a query has beside its prompt: the chip's name, its colour, and what to type.
const KINDS = {
  without: { name: "not", color: "error", hint: "what it must not show" },
  then: { name: "then", color: "primary", hint: "what comes next" },
  where: { name: "filter", color: "info", hint: "duration<60 and tag:beach" },
  captions: { name: "captions", color: "success", hint: "words of its captions" },
  like: { name: "like", color: "secondary", hint: "id of a sample" },
};
const SMALL = { textTransform: "none", minWidth: 0, px: 0.75, py: 0, color: "text.secondary", fontSize: 12 };
const DELETE = { color: "inherit", opacity: 0.7, "&:hover": { color: "inherit", opacity: 1 } };
const ADDED = ["without", "then", "where", "captions"]; // by typing

export default function Line({ line, history, selected, busy, ask, focus, beside, negated }) {
  const [text, setText] = useState(line.text);
  const [chips, setChips] = useState(line.chips);
  const [draft, setDraft] = useState(null);
  const touched = useRef(false); // what is being typed is not taken away by an answer
  const restore = () => {
    touched.current = false;
    setText(line.text);
    setChips(line.chips);
    setDraft(null);
  };
  useEffect(() => void (touched.current || restore()), [JSON.stringify(line)]);
  const edit = (chip) => {
    touched.current = true;
    setDraft(chip);
  };
  const search = (more = chips, value = text) => {
    touched.current = false;
    setChips(more);
    setDraft(null);
    ask({ value, chips: more.map(({ kind, text }) => ({ kind, text })) });
    focus.current?.focus();
  };
  const remove = (at) => {
    const left = chips.filter((_, place) => place !== at);
    if (text.trim() || left.some(({ kind }) => kind === "like" || kind === "captions")) search(left);
    else setChips(left);
  };
  const add = (typed) => [...chips, { ...draft, text: typed, label: typed }];
  const close = (typed) => {
    if (typed) setChips(add(typed));
    setDraft(null);
  };
  const keyed = (event) => {
    // An option that is highlighted is chosen by the same key, through onChange below.
    const chosen = event.target.getAttribute("aria-activedescendant");
    const open = event.target.getAttribute("aria-expanded") === "true";
    if (event.key === "Enter" && !chosen) search();
    if (event.key === "Escape" && !open) {
      if (text !== line.text || JSON.stringify(chips) !== JSON.stringify(line.chips)) restore();
      else event.target.blur();
    }
    if (event.key === "Backspace" && !text && chips.length) {
      event.preventDefault();
      edit(chips[chips.length - 1]);
      setChips(chips.slice(0, -1));
    }
  };
  const shown = chips.map((chip, at) =>
    h(Chip, {
      key: `${chip.kind} ${chip.text}`,
      size: "small",
      variant: "outlined",
      color: KINDS[chip.kind].color,
      "data-cy": `clip2video-chip-${chip.kind}`,
      title: chip.text,
      label: h(
        Fragment,
        null,
        h(Box, { component: "span", sx: { opacity: 0.75 } }, `${KINDS[chip.kind].name} `),
        chip.label ?? chip.text,
        chip.note && h(Box, { component: "span", sx: { opacity: 0.75 } }, ` ${chip.note}`),
      ),
      onClick: () => {
        edit(chip);
        setChips(chips.filter((_, place) => place !== at));
      },
      onDelete: () => remove(at),
      sx: { maxWidth: 320, "&.Mui-focusVisible": { outline: "2px solid" }, "& .MuiChip-deleteIcon": DELETE },
    }),
  );
  const entry =
    draft &&
    h(Draft, {
      key: "draft",
      kind: draft.kind,
      text: draft.text,
      enter: (typed) => search(typed ? add(typed) : chips),
      leave: close,
    });
  const box = h(Autocomplete, {
    freeSolo: true,
    fullWidth: true,
    size: "small",
    options: history,
    filterOptions: (options, { inputValue }) => {
      const typed = inputValue.trim().toLowerCase();
      return typed === line.text.toLowerCase() ? options : options.filter((o) => o.toLowerCase().includes(typed));
    },
    inputValue: text,
    onInputChange: (_, value, reason) => {
      if (reason === "reset") return;
      touched.current = true;
      setText(value);
    },
    onChange: (_, value, reason) => {
      if (reason !== "selectOption") return;
      touched.current = false;
      ask({ value, chips: [] });
    },
    renderInput: (params) =>
      h(TextField, {
        ...params,
        placeholder: chips.length || draft ? "" : "What happens in the video?",
        InputProps: {
          ...params.InputProps,
          endAdornment: h(Fragment, null, shown, entry, params.InputProps.endAdornment),
          sx: { flexWrap: "wrap", gap: 0.5, "& input": { minWidth: 200, flex: "1 1 200px" } },
        },
        inputRef: focus,
        inputProps: {
          ...params.inputProps,
          "data-cy": "clip2video-query",
          "aria-label": "What happens in the video",
          title: "Press / to come here, Enter to search, arrow down for earlier queries",
        },
        onKeyDown: keyed,
      }),
  });
  const button = (kind, label, tip, onClick, disabled) =>
    h(
      Tooltip,
      { key: kind, title: tip, placement: "top", enterDelay: 500 },
      h(
        "span",
        null,
        h(Button, { size: "small", disabled, onClick, sx: SMALL, "data-cy": `clip2video-add-${kind}` }, label),
      ),
    );
  const likes = selected.filter(({ video }) => !chips.some(({ kind, text }) => kind === "like" && text === video));
  return h(
    Box,
    null,
    h(
      Box,
      { sx: { display: "flex", gap: 1, alignItems: "flex-start" } },
      box,
      h(
        Button,
        { variant: "contained", disableElevation: true, sx: { height: 40 }, onClick: () => search() },
        "Search",
      ),
    ),
    h(
      Box,
      { sx: { height: 2, mt: "2px" } },
      busy && h(LinearProgress, { sx: { height: 2 }, "aria-label": "searching" }),
    ),
    h(
      Box,
      { sx: { display: "flex", flexWrap: "wrap", alignItems: "center", columnGap: 0.5, mt: 0.25 } },
      ADDED.map((kind) => button(kind, `+ ${KINDS[kind].name}`, KINDS[kind].hint, () => edit({ kind, text: "" }))),
      button(
        "like",
        "+ like selected",
        likes.length ? "videos like the selected ones" : "select a video first",
        () => search([...chips, ...likes.map(({ video, name }) => ({ kind: "like", text: video, label: name }))]),
        !likes.length,
      ),
      h(Box, { sx: { flex: 1 } }),
      beside,
    ),
    chips.some(({ kind }) => kind === "without") && negated,
  );
}

function Draft({ kind, text, enter, leave }) {
  const [typed, setTyped] = useState(text);
  const left = useRef(false);
  const once = (how, value) => {
    if (left.current) return; // Enter and Escape are followed by the blur of what they take away
    left.current = true;
    how(value);
  };
  return h(
    Box,
    {
      sx: {
        display: "flex",
        alignItems: "center",
        gap: 0.5,
        pl: 1,
        height: 24,
        borderRadius: 3,
        border: "1px dashed",
        borderColor: `${KINDS[kind].color}.main`,
      },
    },
    h(Box, { component: "span", sx: { fontSize: 13, color: `${KINDS[kind].color}.main` } }, KINDS[kind].name),
    h(InputBase, {
      autoFocus: true,
      value: typed,
      placeholder: KINDS[kind].hint,
      inputProps: { "data-cy": `clip2video-draft-${kind}`, "aria-label": KINDS[kind].hint },
      sx: { fontSize: 13, width: Math.max(typed.length, KINDS[kind].hint.length) * 7 + 16, maxWidth: 360 },
      onChange: (event) => setTyped(event.target.value),
      onBlur: () => once(leave, typed.trim()),
      onKeyDown: (event) => {
        event.stopPropagation(); // else they are keys of the box around it
        if (event.key === "Enter") once(enter, typed.trim());
        if (event.key === "Escape") once(leave, text);
        if (event.key === "Backspace" && !typed) once(leave, "");
      },
    }),
  );
}
