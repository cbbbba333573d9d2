import assert from 'node:assert/strict'
import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface, type Interface } from 'node:readline'
import { after, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { callCommand } from '../../src/admin/control-client.ts'
import { el } from '../../src/xmpp/xml.ts'
import { DOMAIN, PASSWORD } from '../support/server.ts'
import { ServerProcess } from '../support/server-process.ts'
import { chat } from '../support/stanzas.ts'

const MAIN = fileURLToPath(new URL('../../src/main.ts', import.meta.url))
const directory = mkdtempSync(join(tmpdir(), 'meerkat-trace-'))
after(() => rmSync(directory, { recursive: true }))

const file = join(directory, 'meerkat.toml')
const env = { ...process.env, NODE_TEST_CONTEXT: '', NO_COLOR: '1' }

/** `meerkat trace` in a process of its own. */
class TraceProcess implements AsyncDisposable {
  readonly #child: ChildProcess
  readonly #lines: string[] = []
  readonly #reader: Interface
  readonly exit: Promise<unknown>

  private constructor(child: ChildProcess) {
    this.#child = child
    this.exit = once(child, 'exit').then(([code, signal]) => code ?? signal)
    this.#reader = createInterface({ input: child.stdout as NodeJS.ReadableStream })
    this.#reader.on('line', (line) => this.#lines.push(line))
  }

  static async start(...args: string[]): Promise<TraceProcess> {
    const command = [MAIN, 'trace', ...args, '--config', file]
    const child = spawn(process.execPath, command, { env, stdio: ['ignore', 'pipe', 'pipe'] })
    const traced = new TraceProcess(child)
    for await (const line of createInterface({ input: child.stderr })) {
      if (line.startsWith('following')) return traced
      throw new Error(line)
    }
    throw new Error('it ended')
  }

  get output(): string {
    return this.#lines.join('\n')
  }

  /** Resolves to the first line that `pattern` finds, once it is there. */
  async prints(pattern: RegExp): Promise<string> {
    for (let turn = 0; turn < 10_000; turn++) {
      const found = this.#lines.find((line) => pattern.test(line))
      if (found !== undefined) return found
      await once(this.#reader, 'line')
    }
    throw new Error(`not printed: ${pattern}`)
  }

  interrupt(): void {
    this.#child.kill('SIGINT')
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#child.kill('SIGKILL')
    await this.exit
  }
}

test('stanzas are followed by a command while they pass a running server', async () => {
  const server = await ServerProcess.start(directory, '[auth]\nregistration = true\n')
  await using _ = server
  const socket = join(directory, 'meerkat.sock')
  for (const jid of [`romeo@${DOMAIN}`, `juliet@${DOMAIN}`]) {
    await callCommand(socket, 'account register', { jid, password: PASSWORD })
  }
  const juliet = await server.connect('juliet', 'balcony')
  await juliet.becomesAvailable(0)
  const romeo = await server.connect('romeo', 'garden')
  const [people, json] = await Promise.all([
    TraceProcess.start(`romeo@${DOMAIN}`),
    TraceProcess.start(`romeo@${DOMAIN}`, '--json', '--body'),
  ])
  await using _people = people
  await using _json = json

  const body = el('body', {}, 'what light through yonder window')
  const message = el('message', { type: 'chat', to: juliet.bareJid, id: 'a1' }, body)
  const sentAt = performance.now()
  romeo.send(message)
  const fate = `→ delivered by sm to ${juliet.fullJid}`
  await people.prints(new RegExp(fate))
  // Told while it happens; a bound, not a measurement.
  assert.ok(performance.now() - sentAt < 5_000)
  checkExample(people.output)
  const item = JSON.parse(await json.prints(/"id":"a1"/))
  assert.deepEqual(item.outcome, {
    fate: 'delivered',
    by: 'sm',
    reason: null,
    sessions: [juliet.fullJid],
  })

  assert.equal(item.stanza.xml, '<body>what light through yonder window</body>')

  const register = el('query', { xmlns: 'jabber:iq:register' }, el('username', {}, 'romeo'))
  const change = register.withChildren(...register.children, el('password', {}, 'new-hunter2'))
  romeo.send(el('iq', { type: 'set', id: 'change', to: DOMAIN }, change))
  await people.prints(/iq set "change"/)
  await json.prints(/"id":"change"/)
  romeo.send(chat(juliet.bareJid, 'the last'))
  await json.prints(/the last/)
  for (const { output } of [people, json]) assert.ok(!output.includes('hunter2'), output)
  assert.ok(!people.output.includes('window'), people.output)
  assert.match(people.output, /^ {4}user_send_message archive +\d+\.\d{3} ms {2}passed$/m)

  const explained = spawnSync(
    process.execPath,
    [MAIN, 'explain', '-', '--from', romeo.fullJid, '--config', file],
    {
      env,
      encoding: 'utf8',
      input: `<message to='${juliet.bareJid}'><body>later</body></message>`,
    },
  )
  assert.equal(explained.status, 0, explained.stderr)
  assert.match(explained.stdout, /would archive it for/)
  assert.ok(explained.stdout.includes(fate))
  assert.match(explained.stdout, /\n\nnothing of this was done\n$/)

  people.interrupt()
  assert.equal(await people.exit, 0)
  await server.stop()
  assert.equal(await json.exit, 0)
})

test('without a server there is nothing to follow', () => {
  const args = [MAIN, 'trace', DOMAIN, '--config', file]
  const { status, stderr } = spawnSync(process.execPath, args, { env, encoding: 'utf8' })
  assert.equal(status, 1)
  assert.match(stderr, /^no server is running with data in .*\n$/)
})

/** What the documentation shows is printed, in this order; there may be more between. */
function checkExample(output: string): void {
  const page = readFileSync(new URL('../../docs/tracing.md', import.meta.url), 'utf8')
  const [, example = ''] = /```text\n(.*?)```/s.exec(page) ?? []
  const printed = comparable(output)
  const shown = comparable(example)
  assert.ok(shown.length > 20)
  let at = 0
  for (const line of shown) {
    at = printed.indexOf(line, at) + 1
    assert.ok(at > 0, `not printed: ${line}`)
  }
}

/** Without what differs each time. */
function comparable(text: string): string[] {
  return text.split('\n').flatMap((line) => {
    const same = line
      .replace(/^\d\d:\d\d:\d\d\.\d{3}/, 'TIME')
      .replaceAll(/[0-9a-f]{8}\/[0-9a-f]{4}/g, 'STORY')
      .replaceAll(/ +\d+\.\d{3} ms/g, ' MS')
      .replaceAll(/\d+ octets/g, 'SIZE')
    return same.trim() === '' ? [] : [same]
  })
}
