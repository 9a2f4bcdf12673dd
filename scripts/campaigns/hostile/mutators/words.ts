/** Words that a name in a file should not be taken for something else. */

/** Properties that every plain object of JavaScript has. */
export const OBJECT_WORDS: readonly string[] = [
  ...["constructor", "__proto__", "toString", "valueOf", "hasOwnProperty", "isPrototypeOf"],
  ...["propertyIsEnumerable", "toLocaleString", "__defineGetter__", "__defineSetter__"],
  ...["__lookupGetter__", "__lookupSetter__", "prototype", "length", "name", "then"],
];

/** Words for names: of objects, of paths, of terminals, of nothing. */
export const HOSTILE_WORDS: readonly string[] = [
  ...OBJECT_WORDS,
  ...[
    "",
    " ",
    ".",
    "..",
    "/",
    "../../etc/passwd",
    "\0",
    "a\nb",
    "\x1b[2J\x1b]0;owned\x07",
    "\u202e",
  ],
  ...["If", "Constant", "MatMul", "Loop", "default", "all-linear", "logits", "input_ids"],
  "n".repeat(10_000),
];
