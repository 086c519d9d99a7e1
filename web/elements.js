/** New elements of the page. */

export function element(tag, className, text = "") {
  const made = document.createElement(tag);
  made.className = className;
  made.textContent = text;
  return made;
}

export function button(text, title, pressed) {
  const made = element("button", "batch-sdxl-button", text);
  made.type = "button";
  made.title = title;
  made.addEventListener("click", pressed);
  return made;
}
