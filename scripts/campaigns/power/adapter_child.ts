/** Adapters saved for power losses: `adapter_child.ts FOLDER`. Prints `saved N` after each. */
import { saveAdapter } from "../../../src/model/adapter_dir.ts";
import { adapterVersion } from "../../../tests/helpers/adapter_versions.ts";

for (const version of [1, 2, 3]) {
  const adapter = adapterVersion(version);
  const config = { ...adapter.config, alpha: version };
  saveAdapter(Deno.args[0], { ...adapter, config });
  console.log(`saved ${version}`);
}
