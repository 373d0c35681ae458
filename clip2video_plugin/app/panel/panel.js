// The page's half of the Video search panel. Python (layout.py) says what is shown, by name; here it is laid out:
// this file is the whole, query_box.js the query line, options.js what is folded, hits.js the answer.
// A field of FiftyOne's own calls the server on every key and saves the panel's state before the server is asked, so
// what is typed stays here and goes straight to the event. React and MUI are those of the App; text is text, never HTML.
(() => {
  const { createElement: h, Fragment, Suspense, lazy, useEffect, useRef, useState } = window.React;
  const { Alert, Box, Button, Menu, MenuItem, TextField } = window.__mui__;
  const { useTriggerPanelEvent } = window.__foo__;
  const { Markdown } = window.__foc__;
  const { PluginComponentType, registerComponent } = window.__fop__;
  const here = document.currentScript.src;
  const now = Date.now(); // of a file that was replaced no copy is shown
  const part = (file, name = "default") =>
    lazy(async () => ({ default: (await import(new URL(`${file}?${now}`, here).href))[name] }));
  const Options = part("options.js");
  const SMALL = { textTransform: "none", minWidth: 0, px: 0.75, py: 0, color: "text.secondary", fontSize: 12 };
  const ERROR = { py: 0, overflowWrap: "anywhere", "& .MuiAlert-message, & .MuiAlert-icon": { py: 0.75 } };
  const Line = part("query_box.js");
  const Threshold = part("options.js", "Threshold");
  const Hits = part("hits.js");

  // A text and a button that does something with it.
  function Field({ label, hint, kept, act }) {
    const [value, setValue] = useState("");
    return h(
      Box,
      { sx: { display: "flex", flex: "1 1 150px", minWidth: 130 } },
      h(TextField, {
        size: "small",
        placeholder: hint,
        inputProps: { "aria-label": hint },
        disabled: !kept,
        value,
        onChange: (event) => setValue(event.target.value),
        onKeyDown: (event) => event.key === "Enter" && act(value),
        InputProps: { sx: { height: 32, fontSize: 13, borderTopRightRadius: 0, borderBottomRightRadius: 0 } },
        sx: { flex: 1 },
      }),
      h(
        Button,
        {
          variant: "outlined",
          size: "small",
          disabled: !kept,
          onClick: () => act(value),
          sx: { height: 32, minWidth: 48, borderTopLeftRadius: 0, borderBottomLeftRadius: 0, ml: "-1px" },
        },
        label,
      ),
    );
  }

  function Tools({ tools, tell }) {
    const [at, setAt] = useState(null);
    return h(
      Fragment,
      null,
      h(
        Button,
        {
          size: "small",
          sx: SMALL,
          "aria-haspopup": "menu",
          "data-cy": "clip2video-tools",
          onClick: (event) => setAt(event.currentTarget),
        },
        "More…",
      ),
      h(
        Menu,
        { anchorEl: at, open: Boolean(at), onClose: () => setAt(null) },
        tools.map(({ name, label }) =>
          h(MenuItem, { key: name, dense: true, onClick: () => [setAt(null), tell("on_tool", { name })] }, label),
        ),
      ),
    );
  }

  const text = (property) => property?.default && h(Markdown, null, property.default);

  function Panel({ data = {}, schema }) {
    const { view, properties } = schema;
    const trigger = useTriggerPanelEvent();
    const [asked, setAsked] = useState(0); // events that are not answered yet
    const [unfolded, setUnfolded] = useState(false);
    const focus = useRef(null);
    const tell = (name, params = {}) => {
      setAsked((count) => count + 1);
      trigger(view.events[name], params, undefined, () => setAsked((count) => count - 1));
    };
    useEffect(() => {
      const keyed = (event) => {
        const { tagName, isContentEditable } = event.target;
        if (event.key !== "/" || isContentEditable || /^(INPUT|TEXTAREA|SELECT)$/.test(tagName)) return;
        if (document.querySelector('[data-cy="modal"], [role="dialog"]')) return;
        event.preventDefault();
        focus.current?.focus();
      };
      window.addEventListener("keydown", keyed);
      return () => window.removeEventListener("keydown", keyed);
    }, []);
    const busy = asked > 0;
    const error = properties.error_shown;
    const kept = Boolean(properties.keep);
    const shown = h(
      Box,
      { sx: { p: 1, display: "flex", flexDirection: "column", gap: 1, fontSize: 13, minWidth: 320 } },
      h(Line, {
        ...view,
        history: data.history ?? [],
        busy,
        focus,
        ask: (params) => tell("on_query", params),
        negated: h(Threshold, { value: view.threshold, tell }),
        beside: [
          h(
            Button,
            {
              key: "options",
              size: "small",
              sx: SMALL,
              onClick: () => setUnfolded(!unfolded),
              "aria-expanded": unfolded,
              "data-cy": "clip2video-options",
            },
            unfolded ? "Options ▴" : "Options ▾",
          ),
          h(Tools, { key: "tools", tools: view.tools, tell }),
        ],
      }),
      h(Options, { open: unfolded, data, options: properties.options.properties, view, tell }),
      h(
        Box,
        { sx: { display: "flex", alignItems: "center", minHeight: 36, "& p": { m: 0, fontSize: 13 } }, role: "status" },
        h(
          Box,
          { sx: { flex: 1, minWidth: 0, opacity: busy ? 0.5 : 1 } },
          text(properties.message_shown),
          error && h(Alert, { severity: "error", sx: ERROR }, h(Markdown, null, error.view.label)),
        ),
        properties.back &&
          h(Button, { size: "small", sx: SMALL, onClick: () => tell("on_back") }, "Back to all videos"),
      ),
      (kept || busy) &&
        h(
          Box,
          { sx: { display: "flex", flexWrap: "wrap", gap: 1 } },
          h(Field, { label: "Tag", hint: "a tag", kept, act: (value) => tell("on_tag", { value }) }),
          h(Field, { label: "Save", hint: "a name", kept, act: (value) => tell("on_save", { value }) }),
          h(
            Button,
            {
              variant: "outlined",
              size: "small",
              disabled: !kept,
              sx: { height: 32, textTransform: "none" },
              onClick: () => tell("on_mark_all"),
            },
            "Mark moments",
          ),
        ),
      h(Hits, { view, busy, tell, about: text(properties.sample_shown), data }),
      h(
        Box,
        { sx: { color: "text.secondary", fontStyle: "italic", "& p": { fontSize: 12 } } },
        text(properties.warning_shown ?? properties.about_shown),
      ),
    );
    return h(Suspense, { fallback: h(Box, { sx: { height: "100%" } }) }, shown);
  }

  registerComponent({
    name: "Clip2VideoSearch",
    label: "CLIP2Video search",
    component: Panel,
    type: PluginComponentType.Component,
    activator: () => true,
  });
})();
