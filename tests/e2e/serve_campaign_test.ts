import { SERVE_CASES } from "../helpers/serve_cases.ts";

for (const [name, run] of Object.entries(SERVE_CASES)) {
  Deno.test(
    `graft serve keeps its promises: ${name}, at a part of campaign:serve's counts`,
    async () => console.log(JSON.stringify(await run(0.05))),
  );
}
