import type { FullJid } from '../xmpp/jid.ts'

/** What became of a stanza; each ends in exactly one of these. */
export type Fate = 'delivered' | 'stored' | 'forwarded' | 'answered' | 'bounced' | 'dropped'

/**
 * The end of a stanza's way and who decided it. `reason` is the error condition of a bounce, why
 * something was dropped, or where it was forwarded.
 */
export class Outcome {
  readonly fate: Fate
  /** The routing module, hook handler or part of the route that decided. */
  readonly by: string
  readonly reason: string | undefined
  /** For `delivered`: the sessions that took the stanza over. */
  readonly sessions: readonly FullJid[]

  constructor(fate: Fate, by: string, reason?: string, sessions: readonly FullJid[] = NOBODY) {
    this.fate = fate
    this.by = by
    this.reason = reason
    this.sessions = sessions
  }
}

const NOBODY: readonly FullJid[] = []

export function dropped(by: string, reason: string): Outcome {
  return new Outcome('dropped', by, reason)
}

export function answered(by: string): Outcome {
  return new Outcome('answered', by)
}
