import { SERVE_CASES } from "../helpers/serve_cases.ts";
import { hasOldHttp } from "../helpers/serving.ts";

for (const [name, run] of Object.entries(SERVE_CASES)) {
  Deno.test({
    name: `graft serve keeps its promises: ${name}, at a part of campaign:serve's counts`,
    ignore: name === "slow clients" && hasOldHttp(),
    fn: async () => console.log(JSON.stringify(await run(0.05))),
  });
}
