import type OpenAI from "openai";

/**
 * All events of a fine-tuning job, newest first.
 *
 * A training writes a hundred a second: what a test waits for leaves a single page before the test looks again.
 */
export async function jobEvents(
  { fineTuning: { jobs } }: OpenAI,
  id: string,
): Promise<OpenAI.FineTuning.FineTuningJobEvent[]> {
  return await Array.fromAsync(jobs.listEvents(id, { limit: 100 }));
}

/** What they say, newest first. */
export async function jobMessages(client: OpenAI, id: string): Promise<string[]> {
  return (await jobEvents(client, id)).map(({ message }) => message);
}
