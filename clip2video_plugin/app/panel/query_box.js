// The query box of the Video search panel: a text field that answers to Enter and to its button
// alone, with earlier queries below it.
// FiftyOne's own fields call the server on every key. A changed field would also save the panel's state before the
// server is asked, so the question goes straight to it. React and MUI are those of the App.
(() => {
  const { createElement, useEffect, useState } = window.React;
  const { Autocomplete, Box, Button, TextField } = window.__mui__;
  const { useTriggerPanelEvent } = window.__foo__;
  const { PluginComponentType, registerComponent } = window.__fop__;

  function QueryBox({ data, schema }) {
    const { label, history = [], on_query, placeholder } = schema.view ?? {};
    const [text, setText] = useState(data ?? "");
    useEffect(() => setText(data ?? ""), [data]);
    const trigger = useTriggerPanelEvent();
    const ask = (query) => trigger(on_query, { value: query.trim() });
    const box = createElement(Autocomplete, {
      freeSolo: true,
      fullWidth: true,
      size: "small",
      options: history,
      inputValue: text,
      onInputChange: (_, value) => setText(value),
      onChange: (_, value, reason) => reason === "selectOption" && ask(value),
      renderInput: (params) =>
        createElement(TextField, {
          ...params,
          label,
          placeholder,
          inputProps: { ...params.inputProps, "data-cy": "clip2video-query" },
          onKeyDown: (event) => {
            // An option that is highlighted is chosen by the same key, through onChange above.
            const chosen = event.target.getAttribute("aria-activedescendant");
            if (event.key === "Enter" && !chosen) ask(text);
          },
        }),
    });
    const button = createElement(Button, { variant: "contained", onClick: () => ask(text) }, "Search");
    return createElement(Box, { sx: { display: "flex", gap: 1, marginTop: 1, paddingRight: 1 } }, box, button);
  }

  registerComponent({
    name: "Clip2VideoQuery",
    label: "CLIP2Video query",
    component: QueryBox,
    type: PluginComponentType.Component,
    activator: () => true,
  });
})();
