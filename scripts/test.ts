/**
 * The everyday tests, tier by tier: `deno task test [TIER…] [-- flags of deno test]`.
 *
 * The last line is `N passed, N failed`; the exit code is 1 where any test failed or a tier did not
 * run. Skipped tests print `skipped: why` where they are declared; with GRAFT_REQUIRE_TOOLS=1 and
 * GRAFT_REQUIRE_PYTHON=1 none may be skipped.
 */

/** The tiers, cheapest first, with the permissions each may have. */
const TIERS: Readonly<Record<string, readonly string[]>> = {
  pure: [], // no permission at all: a pure function cannot reach a file or a library
  ort: ["-A"],
  e2e: ["-A"],
};

export interface Counts {
  readonly passed: number;
  readonly failed: number;
  readonly skipped: number;
}

/** Counts the test cases of a JUnit report. */
export function countCases(junit: string): Counts {
  let [passed, failed, skipped] = [0, 0, 0];
  for (const [, rest] of junit.matchAll(/<testcase\b[^>]*?(\/>|>[\s\S]*?<\/testcase>)/g)) {
    if (/<(failure|error)\b/.test(rest)) failed++;
    else if (/<skipped\b/.test(rest)) skipped++;
    else passed++;
  }
  return { passed, failed, skipped };
}

/** Runs one tier and counts; a tier that could not run, or failed outside its tests, is a failure. */
async function runTier(tier: string, flags: readonly string[], report: string): Promise<Counts> {
  console.log(`--- tests/${tier}`);
  const { success } = await new Deno.Command(Deno.execPath(), {
    args: [
      "test",
      "--no-prompt",
      "--no-check", // `deno task ok` checks types, once for all
      `--junit-path=${report}`,
      ...TIERS[tier],
      ...flags,
      `tests/${tier}`,
    ],
  }).spawn().status;
  let counts: Counts = { passed: 0, failed: 0, skipped: 0 };
  try {
    counts = countCases(await Deno.readTextFile(report));
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
  return success || counts.failed > 0 ? counts : { ...counts, failed: 1 };
}

if (import.meta.main) {
  const split = Deno.args.indexOf("--");
  const named = split < 0 ? Deno.args : Deno.args.slice(0, split);
  const flags = split < 0 ? [] : Deno.args.slice(split + 1);
  const unknown = named.filter((tier) => !(tier in TIERS));
  if (unknown.length > 0) {
    console.error(`Unknown tier "${unknown}": tiers are ${Object.keys(TIERS).join(", ")}`);
    Deno.exit(2);
  }
  const directory = await Deno.makeTempDir({ prefix: "graft-tests-" });
  const all: Counts[] = [];
  try {
    for (const tier of named.length > 0 ? named : Object.keys(TIERS)) {
      all.push(await runTier(tier, flags, `${directory}/${tier}.xml`));
    }
  } finally {
    await Deno.remove(directory, { recursive: true });
  }
  const sum = (key: keyof Counts) => all.reduce((total, counts) => total + counts[key], 0);
  // Where everything must be there (.ci/run), a test that does not run is one that failed.
  const maySkip = ["GRAFT_REQUIRE_TOOLS", "GRAFT_REQUIRE_PYTHON"]
    .some((name) => Deno.env.get(name) !== "1");
  if (sum("skipped") > 0) {
    console.log(`\n${sum("skipped")} skipped${maySkip ? "" : ", which counts as failed here"}`);
  }
  const failed = sum("failed") + (maySkip ? 0 : sum("skipped"));
  console.log(`\n${sum("passed")} passed, ${failed} failed`);
  if (failed > 0) Deno.exit(1);
}
