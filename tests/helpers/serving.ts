/** `graft serve` in a process of its own. */
import { startTidyGraft } from "./graft.ts";

const ADDRESS = /http:\/\/127\.0\.0\.1:\d+/;

export interface Serving {
  readonly child: Deno.ChildProcess;
  /** All that it writes to standard error, once it has ended. */
  readonly stderr: Promise<string>;
  /** Without a slash at the end. */
  readonly url: string;
}

/** Starts it on a free port; resolves once it answers. */
export async function serving(...args: string[]): Promise<Serving> {
  const child = startTidyGraft("serve", "--port", "0", ...args);
  const stderr = new Response(child.stderr).text();
  let stdout = "";
  for await (const piece of child.stdout.pipeThrough(new TextDecoderStream())) {
    stdout += piece;
    const [url] = ADDRESS.exec(stdout) ?? [];
    if (url !== undefined) return { child, stderr, url };
  }
  throw new Error(`It does not answer: ${await stderr}`);
}
