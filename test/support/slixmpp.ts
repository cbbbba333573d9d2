import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { type Expected, Inbox, PATIENCE_SECONDS, type Received, within } from './inbox.ts'
import {
  type ClientOptions,
  fail,
  missing,
  type RealClient,
  type RosterItem,
} from './real-client.ts'

const PYTHON = '/usr/bin/python3'
const LIBRARY = '/usr/lib/python3/dist-packages/slixmpp/__init__.py'
const DRIVER = fileURLToPath(new URL('./slixmpp-client.py', import.meta.url))

export const withoutSlixmpp = missing(PYTHON, LIBRARY)

export interface SlixmppOptions extends ClientOptions {
  /** Left to itself the library takes the strongest that is offered. */
  readonly mechanism?:
    | 'PLAIN'
    | 'SCRAM-SHA-1'
    | 'SCRAM-SHA-256'
    | 'SCRAM-SHA-1-PLUS'
    | 'SCRAM-SHA-256-PLUS'
  readonly streamManagement?: boolean
}

export type ArchivePreferences = {
  readonly default: string
  readonly always: readonly string[]
  readonly never: readonly string[]
}

export type PrivacyItem = {
  readonly action: 'allow' | 'deny'
  readonly order: number
  readonly type?: 'jid' | 'group' | 'subscription'
  readonly value?: string
  /** All, without any. */
  readonly kinds?: readonly ('message' | 'iq' | 'presence_in' | 'presence_out')[]
}

/** An IQ answered with an error, or a failure of the driver under the name of its exception. */
export class SlixmppError extends Error {
  readonly condition: string

  constructor(condition: string, text: string) {
    super(text === '' ? condition : `${condition}: ${text}`)
    this.condition = condition
  }
}

type Line =
  | ({ readonly event: 'stanza' } & Received)
  | { readonly event: 'session_start' | 'session_resumed'; readonly jid: string }
  | { readonly event: string; readonly reason: string }
  | { readonly call: number; readonly result: unknown }
  | { readonly call: number; readonly error: { condition: string; text: string } }

/** Events after which the connection is of no use. */
const FATAL = ['connection_failed', 'ssl_invalid_chain', 'failed_all_auth', 'stream_error']

/** A client of slixmpp (Python) in a process of its own. */
export class SlixmppClient implements RealClient {
  readonly #child: ChildProcessWithoutNullStreams
  readonly #inbox = new Inbox()
  readonly #calls = new Map<number, PromiseWithResolvers<unknown>>()
  #session = Promise.withResolvers<{ isResumed: boolean }>()
  #closed = Promise.withResolvers<void>()
  #lastCall = 0
  #jid = ''
  #refusal: SlixmppError | undefined
  #stderr = ''

  private constructor(options: SlixmppOptions) {
    this.#child = spawn(PYTHON, [DRIVER], { stdio: 'pipe' })
    this.#child.stdin.on('error', () => {})
    this.#child.stderr.setEncoding('utf8').on('data', (text: string) => {
      this.#stderr = (this.#stderr + text).slice(-4000)
    })
    createInterface(this.#child.stdout).on('line', (line) => this.#read(JSON.parse(line)))
    this.#child.once('exit', () => this.#fail(new Error(`slixmpp ended: ${this.#stderr}`)))
    const { streamManagement: stream_management, ...rest } = options
    this.#write({ ...rest, stream_management })
  }

  /** Logs in; becomes available, and the server knows it, unless told otherwise. */
  static async connect(options: SlixmppOptions): Promise<SlixmppClient> {
    const client = new SlixmppClient(options)
    try {
      await client.reconnect()
      if (options.isAvailable ?? true) await client.becomeAvailable()
      return client
    } catch (error) {
      await client[Symbol.asyncDispose]()
      throw error
    }
  }

  get jid(): string {
    return this.#jid
  }

  /** Connects once more after `abort` or `close`; tells whether the old stream was resumed. */
  async reconnect(): Promise<boolean> {
    this.#session = Promise.withResolvers()
    this.#closed = Promise.withResolvers()
    await this.#call('connect')
    const session = within(PATIENCE_SECONDS, this.#session.promise, 'slixmpp has no session')
    return (await session).isResumed
  }

  async becomeAvailable(): Promise<void> {
    await this.#call('fetch_roster')
    await this.sendPresence({})
    await this.ping()
  }

  sendChat(to: string, body: string): Promise<string> {
    return this.sendMessage({ to, body })
  }

  async sendMessage(message: {
    readonly to: string
    readonly body: string
    readonly type?: string
    readonly id?: string
  }): Promise<string> {
    return (await this.#call('send_message', message)) as string
  }

  async sendPresence(presence: {
    readonly to?: string
    readonly type?: string
    readonly show?: string
    readonly status?: string
    readonly priority?: number
  }): Promise<void> {
    await this.#call('send_presence', presence)
  }

  sendSubscription(to: string, type: string): Promise<void> {
    return this.sendPresence({ to, type })
  }

  /** Whatever it is, as it is. */
  async sendRaw(xml: string): Promise<void> {
    await this.#call('send_raw', { xml })
  }

  async roster(): Promise<RosterItem[]> {
    return (await this.#call('roster')) as RosterItem[]
  }

  async setRosterItem(item: {
    readonly jid: string
    readonly name?: string
    readonly groups?: readonly string[]
  }): Promise<void> {
    await this.#call('set_roster_item', item)
  }

  async removeRosterItem(jid: string): Promise<void> {
    await this.#call('remove_roster_item', { jid })
  }

  /** Pings the server unless told whom. */
  async ping(jid?: string): Promise<void> {
    await this.#call('ping', { jid })
  }

  async discoInfo(
    jid: string,
    node?: string,
  ): Promise<{
    identities: { category: string; type: string; name: string }[]
    features: string[]
  }> {
    const info = await this.#call('disco_info', { jid, node })
    return info as Awaited<ReturnType<SlixmppClient['discoInfo']>>
  }

  async discoItems(
    jid: string,
    node?: string,
  ): Promise<{ jid: string; node: string; name: string }[]> {
    const items = await this.#call('disco_items', { jid, node })
    return items as Awaited<ReturnType<SlixmppClient['discoItems']>>
  }

  /** One's own vCard unless told whose. */
  async vcard(jid?: string): Promise<{ fullName: string; nicknames: string[] }> {
    const card = await this.#call('vcard', { jid })
    const { full_name, nicknames } = card as { full_name: string; nicknames: string[] }
    return { fullName: full_name, nicknames }
  }

  async setVcard(card: { readonly fullName: string; readonly nickname: string }): Promise<void> {
    await this.#call('set_vcard', { full_name: card.fullName, nickname: card.nickname })
  }

  /** Private XML (XEP-0049) stored under the name of this element. */
  async privateXml(element: string): Promise<string[]> {
    return (await this.#call('private', { xml: element })) as string[]
  }

  async setPrivateXml(element: string): Promise<void> {
    await this.#call('set_private', { xml: element })
  }

  async enableCarbons(): Promise<void> {
    await this.#call('enable_carbons')
  }

  /** Nodes of the ad-hoc commands that an address has. */
  async commands(jid: string): Promise<string[]> {
    return (await this.#call('commands', { jid })) as string[]
  }

  /** Gives an ad-hoc command, with these fields of its form if it asks for one. */
  async giveCommand(
    jid: string,
    node: string,
    fields?: Readonly<Record<string, string | readonly string[]>>,
  ): Promise<{
    readonly status: string
    readonly values: Readonly<Record<string, unknown>>
    readonly notes: readonly (readonly [string, string])[]
  }> {
    const shown = await this.#call('give_command', { jid, node, fields })
    return shown as Awaited<ReturnType<SlixmppClient['giveCommand']>>
  }

  async blocked(): Promise<string[]> {
    return (await this.#call('blocked')) as string[]
  }

  async block(jid: string): Promise<void> {
    await this.#call('block', { jid })
  }

  async unblock(jid: string): Promise<void> {
    await this.#call('unblock', { jid })
  }

  /** Bodies in one's own archive (XEP-0313), oldest first. */
  async archive(withJid?: string): Promise<string[]> {
    return (await this.#call('archive', { with_jid: withJid })) as string[]
  }

  /** When the oldest and the newest message of the archive came. */
  async archiveEnds(): Promise<string[]> {
    return (await this.#call('archive_ends')) as string[]
  }

  /** By what one can search the archive. */
  async archiveFields(): Promise<string[]> {
    return (await this.#call('archive_fields')) as string[]
  }

  async archivePreferences(): Promise<ArchivePreferences> {
    return (await this.#call('archive_preferences')) as ArchivePreferences
  }

  async setArchivePreferences(preferences: Partial<ArchivePreferences>): Promise<void> {
    await this.#call('set_archive_preferences', preferences)
  }

  async setPrivacyList(name: string, items: readonly PrivacyItem[]): Promise<void> {
    await this.#call('set_privacy_list', { name, items })
  }

  /** Without a name, none is in use. */
  async choosePrivacyList(use: 'active' | 'default', name?: string): Promise<void> {
    await this.#call('choose_privacy_list', { use, name })
  }

  async privacyLists(): Promise<{ active: string; default: string; names: string[] }> {
    const lists = await this.#call('privacy_lists')
    return lists as Awaited<ReturnType<SlixmppClient['privacyLists']>>
  }

  /** Whether somebody looks at the client (XEP-0352). */
  async tellState(state: 'active' | 'inactive'): Promise<void> {
    await this.#call('tell_state', { state })
  }

  async changePassword(password: string): Promise<void> {
    await this.#call('change_password', { password })
  }

  /** Any request; answers the payloads. */
  async iq(type: 'get' | 'set', payload: string, to?: string): Promise<string[]> {
    return (await this.#call('iq', { type, xml: payload, to })) as string[]
  }

  receives(expected: Expected): Promise<Received> {
    return this.#inbox.take(expected)
  }

  async receivesNo(expected: Expected): Promise<void> {
    await this.ping()
    const found = this.#inbox.peek(expected)
    if (found.length > 0) fail('received after all', found)
  }

  /** Drops the connection without closing the stream. */
  async abort(): Promise<void> {
    await this.#call('abort')
    await this.#closed.promise
  }

  async close(): Promise<void> {
    await this.#call('disconnect')
    await this.#closed.promise
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return
    const exit = once(this.#child, 'exit')
    this.#child.kill('SIGKILL')
    await exit
  }

  #call(name: string, given: object = {}): Promise<unknown> {
    const call = ++this.#lastCall
    const outcome = Promise.withResolvers<unknown>()
    this.#calls.set(call, outcome)
    this.#write({ ...given, call, do: name })
    return outcome.promise
  }

  #write(line: object): void {
    this.#child.stdin.write(`${JSON.stringify(line)}\n`)
  }

  #read(line: Line): void {
    if ('call' in line) {
      const outcome = this.#calls.get(line.call)
      this.#calls.delete(line.call)
      if ('result' in line) outcome?.resolve(line.result)
      else outcome?.reject(new SlixmppError(line.error.condition, line.error.text))
    } else if ('kind' in line) {
      this.#inbox.add(line)
    } else if ('jid' in line) {
      this.#jid = line.jid
      this.#session.resolve({ isResumed: line.event === 'session_resumed' })
    } else if (line.event === 'disconnected') {
      this.#endSession(this.#refusal ?? new SlixmppError(line.event, line.reason))
      this.#closed.resolve()
    } else if (line.event === 'failed_auth') {
      // It goes on with other mechanisms until it knows no more or is disconnected.
      this.#refusal = new SlixmppError(line.event, line.reason)
    } else if (FATAL.includes(line.event)) {
      // A stream that ends after too many refusals ends because of them.
      this.#endSession(this.#refusal ?? new SlixmppError(line.event, line.reason))
    }
  }

  /** Of no account once there is a session. */
  #endSession(reason: Error): void {
    this.#session.promise.catch(() => {})
    this.#session.reject(reason)
  }

  #fail(error: Error): void {
    this.#inbox.close(error)
    this.#endSession(error)
    this.#closed.resolve()
    for (const outcome of this.#calls.values()) outcome.reject(error)
    this.#calls.clear()
  }
}
