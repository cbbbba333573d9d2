import type { StanzaKind } from '../xmpp/stanza.ts'
import type { Origin } from './envelope.ts'

type ByKind = Record<StanzaKind, number>

const none = (): ByKind => ({ message: 0, presence: 0, iq: 0 })

/** Plain numbers that only grow; whoever wants to know how fast looks twice. */
export class StanzaCounts {
  /** Whose fate was decided, by where they came from. */
  readonly received: Readonly<Record<Origin['kind'], ByKind>> = {
    c2s: none(),
    s2s: none(),
    component: none(),
    server: none(),
    admin: none(),
  }
  /** Written to a connection, by who has that. */
  readonly sent: Readonly<Record<'c2s' | 's2s' | 'component', ByKind>> = {
    c2s: none(),
    s2s: none(),
    component: none(),
  }
}
