import assert from 'node:assert/strict'
import { cp, readFile, symlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { callCommand } from '../../src/admin/control-client.ts'
import { PROTOCOL } from '../../src/cluster/message.ts'
import type { Client } from './client.ts'
import { until } from './cluster.ts'
import { emptyDirectory } from './directory.ts'
import { NatsServer } from './nats.ts'
import { PostgresServer } from './postgres.ts'
import { PASSWORD } from './server.ts'
import { ServerProcess } from './server-process.ts'
import { chat } from './stanzas.ts'

/** Nodes in processes of their own, with the accounts of romeo and juliet. */
export class ClusterStage implements AsyncDisposable {
  readonly #stack = new AsyncDisposableStack()
  readonly nats: NatsServer
  readonly postgres: PostgresServer
  readonly #storage: string

  private constructor(nats: NatsServer, postgres: PostgresServer, storage: string) {
    this.nats = this.#stack.use(nats)
    this.postgres = this.#stack.use(postgres)
    this.#storage = storage
  }

  static async open(): Promise<ClusterStage> {
    const [nats, postgres] = await Promise.all([NatsServer.start(), PostgresServer.start()])
    return new ClusterStage(nats, postgres, await postgres.createSchema('cluster'))
  }

  /**
   * `nats`: where it finds NATS. `clock`: minutes by which its clock is ahead. `protocol`: of another release,
   * what nodes say to each other in that.
   */
  async node(
    name: string,
    { nats = this.nats.url, clock = 0, protocol = PROTOCOL } = {},
  ): Promise<ServerProcess> {
    const directory = this.#stack.use(await emptyDirectory())
    const settings = `[cluster]\nnats = ["${nats}"]\nnode = "${name}"\nlease = "2s"\n`
    let shell = clock === 0 ? '' : await wrongClock(directory.path, clock)
    if (protocol !== PROTOCOL) shell += await otherRelease(directory.path, protocol)
    const started = ServerProcess.start(directory.path, settings, shell, this.#storage)
    const node = this.#stack.use(await started)
    const socket = join(directory.path, 'meerkat.sock')
    for (const localpart of ['romeo', 'juliet']) {
      const jid = `${localpart}@im.example.com`
      await callCommand(socket, 'account register', { jid, password: PASSWORD }).catch(() => {})
    }
    return node
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#stack[Symbol.asyncDispose]()
  }
}

const ROOT = fileURLToPath(new URL('../..', import.meta.url))

/** What a shell does so that it starts a copy of this release that calls its protocol another. */
async function otherRelease(directory: string, protocol: number): Promise<string> {
  const copy = join(directory, 'release')
  await cp(join(ROOT, 'src'), join(copy, 'src'), { recursive: true })
  await cp(join(ROOT, 'package.json'), join(copy, 'package.json'))
  await symlink(join(ROOT, 'node_modules'), join(copy, 'node_modules'))
  const file = join(copy, 'src/cluster/message.ts')
  const source = await readFile(file, 'utf8')
  const changed = source.replace(
    /^export const PROTOCOL = \d+$/m,
    `export const PROTOCOL = ${protocol}`,
  )
  if (changed === source) throw new Error('there is no such line')
  await writeFile(file, changed)
  return `shift; set -- ${join(copy, 'src/main.ts')} "$@"\n`
}

/** What a shell does so that what it starts has a clock that is ahead, by minutes. */
async function wrongClock(directory: string, minutes: number): Promise<string> {
  const file = join(directory, 'clock.mjs')
  await writeFile(
    file,
    `const ahead = ${minutes * 60_000}
    const Right = Date
    globalThis.Date = class extends Right {
      constructor(...given) {
        if (given.length === 0) super(Right.now() + ahead)
        else super(...given)
      }
      static now() { return Right.now() + ahead }
    }`,
  )
  return `export NODE_OPTIONS='--import=${file}'\n`
}

/** Romeo at one node and Juliet at another, which know of each other. */
export async function meet(
  one: ServerProcess,
  two: ServerProcess,
): Promise<{ readonly romeo: Client; readonly juliet: Client }> {
  const romeo = await one.connect('romeo', 'orchard')
  await romeo.becomesAvailable()
  const juliet = await two.connect('juliet', 'balcony')
  await juliet.becomesAvailable()
  await arrives(romeo, juliet)
  return { romeo, juliet }
}

/** Sends until something arrives, which shows that the other node knows the recipient; and waits for all of it. */
export async function arrives(from: Client, to: Client): Promise<void> {
  const body = 'anybody there?'
  let sent = 0
  while (to.inbox({ body }).length === 0) {
    assert.ok(sent++ < 800, 'nothing arrives')
    from.send(chat(to.fullJid, body))
    await from.roundTrip()
    await to.roundTrip()
    // How long the other node takes to hear does not depend on how quickly these two are answered.
    await delay(25)
  }
  const answered = () => to.inbox({ body }).length + from.inbox({ type: 'error' }).length
  await until(() => answered() === sent, 'what was sent on its way')
  for (const client of [from, to]) client.forgets(() => true)
}
