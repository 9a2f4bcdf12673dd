/** A run ended before the signal that a test sent it. */
export class TooLateError extends Error {
  override readonly name = "TooLateError";
}

/** How many times in all a test is tried whose signals come too late. */
const MOST_TRIES = 5;

/** Does again what came to nothing because a signal came too late, on a machine that has little time for the tests. */
export async function inTime(body: () => void | Promise<void>): Promise<void> {
  for (let tries = 1;; tries++) {
    try {
      return await body();
    } catch (error) {
      if (!(error instanceof TooLateError) || tries === MOST_TRIES) throw error;
    }
  }
}
