/** Why a stream came to nothing. */
export class StreamFailure extends Error {
  override readonly name = 'StreamFailure'
  /** Another attempt would fare no better. */
  readonly isFinal: boolean

  constructor(message: string, isFinal = false, options: ErrorOptions = {}) {
    super(message, options)
    this.isFinal = isFinal
  }
}

/** A stream error that the other side has sent. */
export function refusedBy(condition: string): StreamFailure {
  return new StreamFailure(`stream error: ${condition}`, UNWANTED.has(condition))
}

/** Those that say that we are not wanted, rather than that something went wrong. */
const UNWANTED: ReadonlySet<string> = new Set([
  'host-gone',
  'host-unknown',
  'not-authorized',
  'policy-violation',
])
