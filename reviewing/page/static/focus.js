// Where the focus goes when what has it is disabled or hidden: to the phrase, not to the top of the page.

import { find } from "./common.js";

// To be called before an element is hidden.
export function passOn(element) {
  if (element.contains(document.activeElement)) find("phrase").focus({ preventScroll: true });
}

export function enable(button, isPossible) {
  if (!isPossible) passOn(button);
  button.disabled = !isPossible;
}
