/** Names, addresses and passwords as clients write them, to how they are compared. */
import { JidError, prepareLocalpart, tryParseJid } from '../../xmpp/jid.ts'
import { PrecisError, preparePassword as prepare } from '../../xmpp/precis.ts'

/** The localpart that `name` means; `undefined` when no account can have that name. */
export function prepareName(name: string): string | undefined {
  return unlessRefused(prepareLocalpart, name)
}

/** `undefined` when no account can have that password. */
export function preparePassword(password: string): string | undefined {
  return unlessRefused(prepare, password)
}

/**
 * Whether `authzid` is the bare JID of `localpart`. Who is authenticated may act as nobody else
 * (RFC 6120 §6.3.8). `localpart` and `domain` are prepared.
 */
export function isOwnAddress(authzid: string, localpart: string, domain: string): boolean {
  return tryParseJid(authzid)?.full === `${localpart}@${domain}`
}

function unlessRefused(profile: (text: string) => string, text: string): string | undefined {
  try {
    return profile(text)
  } catch (error) {
    if (error instanceof JidError || error instanceof PrecisError) return undefined
    throw error
  }
}
