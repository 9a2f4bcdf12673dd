/**
 * A service among clients that are slow, silent, many, do not read or leave (PROMISES 8), then while its
 * round's training is killed again and again (PROMISES 14). Prints a JSON line each; ends with 1 where
 * a client that behaves was not served.
 *
 * usage: deno run -A scripts/campaigns/clients.ts [SECONDS of each, default 30] [KILLS, default 20]
 */
import { join } from "@std/path";
import { modelDir } from "../../tests/helpers/fixture_models.ts";
import { withService } from "../../tests/helpers/running_service.ts";
import { amongCrowds } from "../../tests/helpers/service_crowds.ts";
import { killRounds } from "./clients/killed_rounds.ts";
import { figuresOf } from "./soak/process_figures.ts";

const [seconds, kills] = [Deno.args[0] ?? 30, Deno.args[1] ?? 20].map(Number);
if (!(seconds > 0) || !(kills >= 0)) {
  console.error("graft: SECONDS must be > 0 and KILLS >= 0");
  Deno.exit(2);
}
const folder = Deno.makeTempDirSync({ prefix: "graft-clients-" });
const model = modelDir("tiny-llama-genai-int4");
const service = { model, state: join(folder, "state"), socket: join(folder, "socket") };
let sound = true;
try {
  await withService(service, async (pid) => {
    for await (const figures of amongCrowds(service.socket, seconds)) {
      sound &&= figures.faults.length === 0;
      const { ownMb, files } = figuresOf(pid);
      console.log(JSON.stringify({ ...figures, ownMb, files }));
    }
    if (kills === 0) return;
    const figures = await killRounds(service, kills);
    sound &&= figures.faults.length === 0;
    console.log(JSON.stringify({ what: "a round that is killed", ...figures }));
  });
} finally {
  Deno.removeSync(folder, { recursive: true });
}
Deno.exit(sound ? 0 : 1);
