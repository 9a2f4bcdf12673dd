/**
 * Compares the verbs' whole runs on releases of ONNX Runtime with those on the one that graft brings,
 * as the everyday tests do on the oldest: `deno task campaign:releases [RELEASE…]`.
 *
 * Takes PyPI's wheels by `GRAFT_PYTHON`, else `.venv/bin/python`; releases before 1.19 have no library
 * of their own there. Prints one JSON object a release and ends with 1 where one differs.
 */
import { output, outputOf, PYTHON } from "./commands.ts";

const RELEASES = ["1.19.2", "1.20.1", "1.21.1", "1.22.1", "1.23.2", "1.24.1"];
const TESTS = "tests/e2e/oldest_ort_test.ts";

const folder = Deno.makeTempDirSync({ prefix: "graft-releases-" });

/** Path of a release's library. */
async function fetched(release: string): Promise<string> {
  const fetch = ["scripts/fetch_providers.py", folder, `LIBRARY=onnxruntime==${release}`];
  return /'(.*)'/.exec(await outputOf(PYTHON, fetch))![1];
}

let differs = false;
try {
  for (const release of Deno.args.length > 0 ? Deno.args : RELEASES) {
    const env = {
      GRAFT_OLDER_ORT_LIB: await fetched(release),
      GRAFT_TEST_ALL: "1",
      NO_COLOR: "1",
    };
    const { success, stdout } = await output(Deno.execPath(), ["test", "-A", "-q", TESTS], env);
    const [passed, failed] = ["ok", "FAILED"].map((end) =>
      [...stdout.matchAll(new RegExp(`^(.*) \\.\\.\\. ${end}`, "gm"))].map(([, title]) => title)
    );
    console.log(JSON.stringify({ release, passed: passed.length, failed }));
    if (success && passed.length > 0) continue;
    differs = true;
    console.error(stdout);
  }
} finally {
  Deno.removeSync(folder, { recursive: true });
}
if (differs) Deno.exit(1);
