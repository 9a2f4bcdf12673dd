/** What the service does where the model in use or its journal is damaged, or a round is at work. */
import { assertEquals, assertStringIncludes } from "@std/assert";
import { join } from "@std/path";
import { modelDir } from "../helpers/fixture_models.ts";
import { ServiceState } from "../../src/service/state.ts";
import { graft, startGraft } from "../helpers/graft.ts";
import { until } from "../helpers/until.ts";
import { promotedModel } from "../helpers/promoted_model.ts";
import { inTempDir } from "../helpers/temp_dir.ts";

const MODEL = modelDir("tiny-llama-genai-int4");

/** Starts the service, waits for an answer, ends it; returns which model answered and what was logged. */
async function answered(state: string, socket: string) {
  const service = startGraft(
    ...["service", "run", "--model", MODEL, "--state", state, "--socket", socket],
    ...["--n-predict", "4", "--threads", "1"],
  );
  const log = new Response(service.stderr).text();
  const asked = async () => {
    const { code, stdout } = await graft("service", "ask", "--socket", socket, "hello");
    return code === 0 ? JSON.parse(stdout).model : undefined;
  };
  let model: string;
  try {
    model = await until("it answers", asked);
  } finally {
    service.kill("SIGTERM");
  }
  const { code } = await service.status;
  return { model, code, log: await log };
}

Deno.test("graft service run answers with the model before one that is damaged", () =>
  inTempDir(async (path) => {
    const [state, socket] = [join(path, "state"), join(path, "socket")];
    promotedModel(MODEL, state, "0001");
    const damaged = join(promotedModel(MODEL, state, "0002"), "model.onnx");
    Deno.truncateSync(damaged, Deno.statSync(damaged).size >> 1);
    Deno.symlinkSync("models/0002/model", join(state, "current"));
    const { model, code, log } = await answered(state, socket);
    assertEquals([model, code], ["0001", 0]);
    assertStringIncludes(log, "The model in use, 0002, cannot be loaded: ");
    assertStringIncludes(log, "model 0001 answers until it can");
  }));

Deno.test("graft service run answers while a round is at work, and where a line of the journal is damaged", () =>
  inTempDir(async (path) => {
    const [state, socket] = [join(path, "state"), join(path, "socket")];
    const statusJson = async () => {
      const { stdout } = await graft("service", "status", "--state", state, "--json");
      return JSON.parse(stdout);
    };
    for (const name of ["0001", "0002"]) promotedModel(MODEL, state, name);
    const journal = join(state, "journal");
    {
      using round = ServiceState.open(state);
      round.rollBack("0001");
      const bytes = Deno.readFileSync(journal);
      bytes[40] ^= 1;
      Deno.writeFileSync(journal, bytes);
      const { model, code, log } = await answered(state, socket);
      assertEquals([model, code], ["0001", 0]);
      assertStringIncludes(log, "A round is at work");
      assertStringIncludes(log, `Line 1 of ${journal} was changed`);
      assertEquals((await statusJson()).journal_damaged_line, 1);
    }
    const damaged = Deno.readFileSync(journal);
    assertEquals((await answered(state, socket)).model, "0001");
    const { journal_damaged_line, journal_kept: [kept], in_use } = await statusJson();
    assertEquals([journal_damaged_line, in_use], [null, "0001"]);
    assertEquals(Deno.readFileSync(join(state, kept)), damaged);
    const { stdout } = await graft("service", "status", "--state", state);
    assertStringIncludes(stdout, `${kept} keeps that part`);
  }));
