import { assertEquals, assertThrows } from "@std/assert";
import { parseArguments } from "../../src/cli/args.ts";
import { boolean, integer, list, map, number, text } from "../../src/cli/flags.ts";
import { UsageError } from "../../src/errors.ts";

const FLAGS = {
  model: text("The model", { short: "m", aliases: ["modelPath"] }),
  maxSeqLength: integer("Longest sequence", { min: 2, max: 100 }),
  learningRate: number("Rate", { min: 0 }),
  maskPrompt: boolean("Mask", { default: true }),
  targetModules: list("Targets"),
  rankPattern: map("Ranks"),
  optimizer: text("Optimiser", { choices: ["adamw", "sgd"], default: "adamw" }),
};

const values = (...argv: string[]) => parseArguments(argv, FLAGS).values;
const fails = (argv: string[], message: string) =>
  assertThrows(() => parseArguments(argv, FLAGS), UsageError, message);

Deno.test("parseArguments() reads a value after a space, after =, and after a short flag", () => {
  assertEquals(values("--model", "a b"), { model: "a b" });
  assertEquals(values("--model=a=b"), { model: "a=b" });
  assertEquals(values("-m", "x"), { model: "x" });
  assertEquals(values("--model-path", "x"), { model: "x" });
  assertEquals(values("--max_seq_length", "7"), { maxSeqLength: 7 });
});

Deno.test("parseArguments() reads numbers, also negative and with an exponent", () => {
  assertEquals(values("--learning-rate", "1e-5"), { learningRate: 1e-5 });
  assertEquals(values("--learning-rate", ".5"), { learningRate: 0.5 });
  fails(["--learning-rate", "-1"], "--learning-rate must be >= 0: current value is -1");
  fails(["--learning-rate", "fast"], '--learning-rate must be a number: current value is "fast"');
  fails(["--learning-rate", "0x10"], "must be a number");
  fails(["--learning-rate", ""], "must be a number");
  fails(["--learning-rate", "Infinity"], "must be a number");
  fails(["--max-seq-length", "2.5"], "must be a whole number");
  fails(["--max-seq-length", "1"], "must be >= 2");
  fails(["--max-seq-length", "101"], "must be <= 100");
});

Deno.test("parseArguments() reads switches and their negation", () => {
  assertEquals(values("--mask-prompt"), { maskPrompt: true });
  assertEquals(values("--no-mask-prompt"), { maskPrompt: false });
  assertEquals(values("--mask-prompt=false"), { maskPrompt: false });
  fails(["--no-mask-prompt=yes"], "takes no value");
  fails(["--no-model"], "Unknown flag --no-model");
});

Deno.test("parseArguments() joins repeated lists and maps, and lets the last value win elsewhere", () => {
  assertEquals(values("--target-modules", "q,v", "--target-modules", "o"), {
    targetModules: ["q", "v", "o"],
  });
  assertEquals(values("--rank-pattern", "a.*=4,b=8", "--rank-pattern=c=2"), {
    rankPattern: { "a.*": 4, b: 8, c: 2 },
  });
  assertEquals(values("--model", "a", "--model", "b"), { model: "b" });
  fails(["--rank-pattern", "a"], "NAME=NUMBER");
});

Deno.test("parseArguments() names the nearest flag for a misspelt one", () => {
  fails(["--learing-rate", "1"], 'Unknown flag --learing-rate; did you mean "--learning-rate"?');
  const error = assertThrows(() => parseArguments(["--zzz"], FLAGS), UsageError);
  assertEquals((error as UsageError).message, "Unknown flag --zzz");
  assertEquals((error as UsageError).exitCode, 2);
});

Deno.test("parseArguments() refuses a flag without its value", () => {
  fails(["--model"], "--model needs a value");
  fails(["--model", "--mask-prompt"], "--model needs a value");
  fails(["--optimizer"], "adamw, sgd");
});

Deno.test("parseArguments() refuses values that are no choice", () => {
  fails(["--optimizer", "lion"], '--optimizer must be one of adamw, sgd: current value is "lion"');
});

Deno.test("parseArguments() keeps operands, ends flags at --, and sees help", () => {
  assertEquals(parseArguments(["a", "-", "-5", "--", "--model"], FLAGS), {
    values: {},
    operands: ["a", "-", "-5", "--model"],
    help: false,
  });
  assertEquals(parseArguments(["-h"], FLAGS).help, true);
});
