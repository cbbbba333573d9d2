/**
 * - `invalid`: the arguments cannot be meant;
 * - `forbidden`: not for this caller, or not about this domain;
 * - `not-found`, `conflict`: something is missing, or there already;
 * - `unavailable`: not now.
 */
export type CommandErrorCode = 'invalid' | 'forbidden' | 'not-found' | 'conflict' | 'unavailable'

/** Told to whoever gave the command. Anything else thrown is our bug. */
export class CommandError extends Error {
  override readonly name = 'CommandError'
  readonly code: CommandErrorCode

  constructor(code: CommandErrorCode, message: string, options?: ErrorOptions) {
    super(message, options)
    this.code = code
  }
}
