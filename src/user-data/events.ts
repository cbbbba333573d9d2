import type { UserDataPortion } from '../core/user-data.ts'
import type { BareJid } from '../xmpp/jid.ts'

/** What a source of accounts has, in order: after a user what is kept of it, until the next. */
export type UserDataEvent = {
  /** For people: `file.xml:123`. */
  readonly place: string
} & (
  | { readonly kind: 'user'; readonly account: BareJid; readonly password?: string | undefined }
  | { readonly kind: 'portion'; readonly portion: UserDataPortion }
  /** Something that is left out. */
  | { readonly kind: 'problem'; readonly text: string }
)

/** The source cannot be read on; says where. */
export class UserDataError extends Error {
  override readonly name = 'UserDataError'
}
