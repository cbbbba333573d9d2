import assert from 'node:assert/strict'
import { Socket } from 'node:net'
import { type TestContext, test } from 'node:test'
import { jetstreamManager } from '@nats-io/jetstream'
import { connect } from '@nats-io/transport-node'
import { NatsServer, skipWithoutNats } from '../../test/support/nats.ts'
import { StreamWriter, WrongSequence } from './stream-writer.ts'

const options = { skip: skipWithoutNats }

async function open() {
  const nats = await NatsServer.start()
  const connection = await connect({ servers: nats.url })
  const { streams } = await jetstreamManager(connection)
  await streams.add({ name: 'rows', subjects: ['rows.>'] })
  const writer = new StreamWriter(connection)
  return {
    writer,
    streams,
    async [Symbol.asyncDispose]() {
      writer.close()
      await connection.close()
      await nats[Symbol.asyncDispose]()
    },
  }
}

/** How many messages each write to a socket carries. */
function watchWrites(context: TestContext): number[] {
  const counts: number[] = []
  const write = Socket.prototype.write as (...all: unknown[]) => boolean
  context.mock.method(Socket.prototype, 'write', function (this: Socket, ...all: unknown[]) {
    const [frame] = all
    const count =
      frame instanceof Uint8Array ? Buffer.from(frame).toString().split('HPUB').length - 1 : 0
    if (count > 0) counts.push(count)
    return write.apply(this, all)
  })
  return counts
}

test(
  'what is written in one turn of the event loop leaves in one write',
  options,
  async (context) => {
    await using opened = await open()
    const { writer, streams } = opened
    const counts = watchWrites(context)
    const written: Promise<number>[] = []
    for (const row of ['a', 'b', 'c']) {
      written.push(writer.write(`rows.${row}`, row, 5_000, { expected: 0 }))
      // As between clients whose sockets have something to read in the same turn.
      await Promise.resolve()
    }
    assert.deepEqual(await Promise.all(written), [1, 2, 3])
    assert.deepEqual(counts, [3])
    const second = await streams.getMessage('rows', { last_by_subj: 'rows.b' })
    assert.equal(second?.string(), 'b')
  },
)

test('each is answered for itself', options, async () => {
  await using opened = await open()
  const { writer } = opened
  const [first, second, third] = await Promise.allSettled([
    writer.write('rows.a', 'one', 5_000, { expected: 0 }),
    writer.write('rows.a', 'two', 5_000, { expected: 0 }),
    writer.write('rows.b', 'three', 5_000, { expected: 0 }),
  ])
  assert.deepEqual(first, { status: 'fulfilled', value: 1 })
  assert.ok(second.status === 'rejected' && second.reason instanceof WrongSequence)
  assert.deepEqual(third, { status: 'fulfilled', value: 2 })
})

test(
  'what was written before the end leaves, and nobody waits for its answer',
  options,
  async () => {
    await using opened = await open()
    const { writer, streams } = opened
    const rejected = assert.rejects(writer.write('rows.a', 'last', 5_000), /closed/)
    writer.close()
    await rejected
    const { state } = await streams.info('rows')
    assert.equal(state.messages, 1)
  },
)
