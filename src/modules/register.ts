import { z } from 'zod'
import { duration } from '../core/config-types.ts'
import { Envelope, SERVER } from '../core/envelope.ts'
import { stop } from '../core/hooks.ts'
import { type IqAnswer, type IqRequest, NO_REPLY } from '../core/iq.ts'
import { defineModule } from '../core/module.ts'
import { networkOf } from '../core/network.ts'
import { RateLimit } from '../core/rate-limit.ts'
import { type BareJid, JidError, jid, prepareLocalpart } from '../xmpp/jid.ts'
import { PrecisError } from '../xmpp/precis.ts'
import { CLIENT_NS, Stanza } from '../xmpp/stanza.ts'
import { StanzaError } from '../xmpp/stanza-error.ts'
import { type Element, el } from '../xmpp/xml.ts'

const NS = 'jabber:iq:register'
const FEATURE_NS = 'http://jabber.org/features/iq-register'

/** Addresses whose attempts are remembered. */
const MAX_REMEMBERED = 10_000

const name = z.string().transform((text, context) => {
  try {
    return prepareLocalpart(text)
  } catch (error) {
    if (!(error instanceof JidError)) throw error
    context.issues.push({ code: 'custom', message: 'the localpart of an account', input: text })
    return z.NEVER
  }
})

/**
 * In-band registration: accounts are created by strangers where the operator allows that, and
 * changed and removed by their owners (XEP-0077).
 */
export const register = defineModule({
  name: 'register',
  implements: ['XEP-0077 2.4'],
  features: [NS],
  config: z.strictObject({
    enabled: z.boolean().default(false).describe('Set by `registration` of `[auth]`.'),
    instructions: z
      .string()
      .default('Choose a name and a password for your account.')
      .describe('Shown to those who register.'),
    allow_without_tls: z
      .boolean()
      .default(false)
      .describe('Lets new passwords cross the network unencrypted.'),
    allow_password_change: z
      .boolean()
      .default(true)
      .describe('Whether users may change their passwords.'),
    allow_removal: z.boolean().default(true).describe('Whether users may remove their accounts.'),
    reserved: z
      .array(name)
      .default(['abuse', 'admin', 'hostmaster', 'postmaster', 'root', 'security', 'webmaster'])
      .describe('Names that nobody can register.'),
    attempts: z
      .int()
      .min(1)
      .default(10)
      .describe('Attempts to register from one address (IPv4, or IPv6 network) in a `window`.'),
    window: duration({ min: '1s', max: '1w' }).prefault('1h').describe('See `attempts`.'),
  }),

  start({ config, hooks, iq, lifecycle, router, clock, log }) {
    const reserved = new Set(config.reserved)
    const attempts = new RateLimit({
      limit: config.attempts,
      window: config.window,
      maxKeys: MAX_REMEMBERED,
      now: () => clock.now(),
    })
    const form = (...more: Element[]) =>
      el('query', { xmlns: NS }, ...more, el('instructions', {}, config.instructions))
    const isOpen = (isEncrypted: boolean) =>
      config.enabled && (isEncrypted || config.allow_without_tls)

    // --- Before authentication.

    const create = async (query: Element, domain: string, address: string) => {
      // §3.2: nobody has said yet whose account that would be.
      if (query.child('remove') !== undefined) throw new StanzaError('unexpected-request')
      const { username, password } = fieldsOf(query, 'not-acceptable')
      const account = accountOf(username, domain)
      if (!attempts.take(networkOf(address))) {
        throw new StanzaError('resource-constraint', { text: 'Too many attempts, try later' })
      }
      const isCreated =
        !reserved.has(account.local) &&
        (await withPassword(() => lifecycle.register(account, password)))
      if (!isCreated) throw new StanzaError('conflict', { text: 'This name is taken' })
      log.info('account_registered', { account, address })
    }

    hooks.on('c2s_stream_features', (features, { account, isEncrypted }) =>
      account === undefined && isOpen(isEncrypted)
        ? [...features, el('register', { xmlns: FEATURE_NS })]
        : features,
    )
    hooks.on('c2s_unauthenticated_iq', (none, { request, domain, address, isEncrypted }) => {
      const query = request.child('query', NS)
      const [type, id] = [request.attr('type'), request.attr('id')]
      if (query === undefined || id === undefined) return none
      const reply = (attributes: { type: string }, child?: Element) =>
        stop(el('iq', { xmlns: CLIENT_NS, from: domain, id, ...attributes }, child))
      const refuse = (error: unknown) => {
        if (!(error instanceof StanzaError)) throw error
        return reply({ type: 'error' }, error.toElement())
      }
      if (type === 'get') {
        if (!isOpen(isEncrypted)) return refuse(new StanzaError('service-unavailable'))
        return reply({ type: 'result' }, form(el('username'), el('password')))
      }
      if (type !== 'set') return none
      if (!isOpen(isEncrypted)) return refuse(new StanzaError('not-allowed'))
      return create(query, domain, address).then(() => reply({ type: 'result' }), refuse)
    })

    // --- Of an account's own clients.

    const changePassword = async (request: IqRequest, account: BareJid) => {
      if (!config.allow_password_change) throw new StanzaError('not-allowed')
      const isSafe = request.session?.info.connection !== 'tcp' || config.allow_without_tls
      if (!isSafe) throw new StanzaError('not-authorized', { text: 'Only over TLS' })
      const { username, password } = fieldsOf(request.payload, 'bad-request')
      if (!accountOf(username, account.domain).equals(account)) throw new StanzaError('not-allowed')
      const isChanged = await withPassword(() => lifecycle.setPassword(account, password))
      if (!isChanged) throw new StanzaError('registration-required')
      log.info('password_changed', { account })
    }

    const remove = async (account: BareJid, answer: () => void) => {
      if (!config.allow_removal) throw new StanzaError('not-allowed')
      if (!(await lifecycle.remove(account, answer))) throw new StanzaError('registration-required')
      log.info('account_removed', { account })
    }

    iq.on('server', 'get', NS, 'query', get)
    iq.on('account', 'get', NS, 'query', get)
    iq.on('server', 'set', NS, 'query', set)
    iq.on('account', 'set', NS, 'query', set)

    function get(request: IqRequest) {
      const account = ownAccount(request)
      return form(el('registered'), el('username', {}, account.local), el('password'))
    }

    /** Answers by itself: errors must not repeat the password (§3.3), nor the removal come first. */
    async function set(request: IqRequest): Promise<IqAnswer> {
      const { payload, to, from, envelope } = request
      const answer = (type: 'result' | 'error', ...children: Element[]) => {
        const reply = Stanza.build('iq', { type, id: envelope.stanza.id }, ...children)
        void router.route(new Envelope(to, from, reply, SERVER))
      }
      const succeed = () => answer('result')
      try {
        const account = ownAccount(request)
        if (payload.child('remove') === undefined) {
          await changePassword(request, account)
          succeed()
        } else {
          if (payload.elements().length > 1) throw new StanzaError('bad-request')
          await remove(account, succeed)
        }
      } catch (error) {
        const isRefusal = error instanceof StanzaError
        if (!isRefusal) log.error('account_not_changed', { account: from.bare, error })
        answer('error', (isRefusal ? error : new StanzaError('internal-server-error')).toElement())
      }
      return NO_REPLY
    }
  },
})

/** Whose request it is: one of our users', at the own domain or the own account. */
function ownAccount({ from, to, session }: IqRequest): BareJid {
  const isOwn = from.local !== '' && (to.isDomain ? from.domain === to.domain : from.bareEquals(to))
  if (!isOwn || session?.info.isAnonymous === true) throw new StanzaError('not-allowed')
  return from.toBare()
}

function fieldsOf(query: Element, missing: 'bad-request' | 'not-acceptable') {
  const username = query.child('username')?.text.trim() ?? ''
  const password = query.child('password')?.text ?? ''
  if (username !== '' && password !== '') return { username, password }
  throw new StanzaError(missing, { text: 'A username and a password are needed' })
}

function accountOf(username: string, domain: string): BareJid {
  try {
    return jid(username, domain)
  } catch (error) {
    if (!(error instanceof JidError)) throw error
    throw new StanzaError('not-acceptable', { text: error.message })
  }
}

async function withPassword<T>(use: () => Promise<T>): Promise<T> {
  try {
    return await use()
  } catch (error) {
    if (!(error instanceof PrecisError)) throw error
    throw new StanzaError('not-acceptable', { text: error.message })
  }
}
