// The query box of the Video search panel: a text field that answers to Enter alone, with earlier queries below it.
// FiftyOne's own fields call the server on every key. React and MUI are those of the App.
(() => {
  const { createElement, useEffect, useState } = window.React;
  const { Autocomplete, TextField } = window.__mui__;
  const { PluginComponentType, registerComponent } = window.__fop__;

  function QueryBox({ path, data, schema, onChange }) {
    const { label, history = [], placeholder } = schema.view ?? {};
    const [text, setText] = useState(data ?? "");
    useEffect(() => setText(data ?? ""), [data]);
    const ask = (query) => query.trim() && onChange(path, query.trim());
    return createElement(Autocomplete, {
      freeSolo: true,
      fullWidth: true,
      sx: { marginTop: 1, paddingRight: 1 },
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
  }

  registerComponent({
    name: "Clip2VideoQuery",
    label: "CLIP2Video query",
    component: QueryBox,
    type: PluginComponentType.Component,
    activator: () => true,
  });
})();
