/** Which of several ways of computing the same thing is quickest, by measurements. */

/** How long a way took. */
export interface FormTiming<Form extends string> {
  readonly form: Form;
  /** What was computed, whatever the form: equal for timings that compare. */
  readonly product: string;
  readonly milliseconds: number;
}

/**
 * The form that is quickest over all products that every form was timed on; `undefined` where there
 * is none, as on a release that lacks a form's kernels.
 */
export function quickestForm<Form extends string>(
  forms: readonly Form[],
  timings: readonly FormTiming<Form>[],
): Form | undefined {
  const products = Map.groupBy(timings, ({ product }) => product);
  const totals = new Map<Form, number>();
  for (const all of products.values()) {
    const byForm = new Map(all.map(({ form, milliseconds }) => [form, milliseconds]));
    if (byForm.size < forms.length) continue;
    for (const [form, time] of byForm) totals.set(form, (totals.get(form) ?? 0) + time);
  }
  return [...totals].toSorted(([, a], [, b]) => a - b)[0]?.[0];
}
