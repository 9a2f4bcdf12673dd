/** Markup in templates. What is put into one becomes text, never markup. */
import htm from "htm";
import { h } from "preact";

export const html = htm.bind(h);
