import type { Jid } from '../xmpp/jid.ts'

/** XEP-0030 §3.1. */
export type DiscoIdentity = {
  readonly category: string
  readonly type: string
  readonly name?: string
}

/** XEP-0030 §4.1. */
export type DiscoItem = { readonly jid: string; readonly node?: string; readonly name?: string }

/** What is asked. `target` is a hosted domain or an account; `node` is '' when absent. */
export type DiscoQuery = { readonly from: Jid; readonly target: Jid; readonly node: string }
