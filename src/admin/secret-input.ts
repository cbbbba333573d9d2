import { createInterface } from 'node:readline'
import { PassThrough } from 'node:stream'
import { text } from 'node:stream/consumers'
import type { ReadStream } from 'node:tty'

type Terminal = {
  readonly input: NodeJS.ReadableStream & Partial<Pick<ReadStream, 'isTTY'>>
  /** Where questions are written. */
  readonly output: NodeJS.WritableStream
}

/** What is typed was not what was asked for. */
export class SecretInputError extends Error {
  override readonly name = 'SecretInputError'
}

/**
 * A secret from whoever runs the command: on a terminal asked for twice and not shown, otherwise
 * all of the input up to its last line end. Throws SecretInputError.
 */
export async function readSecret(name: string, { input, output }: Terminal): Promise<string> {
  if (!input.isTTY) return sound(name, (await text(input)).replace(/\r?\n$/, ''))
  const reader = createInterface({ input, output: new PassThrough().resume(), terminal: true })
  // Keeps what is typed ahead.
  const lines = reader[Symbol.asyncIterator]()
  const ask = async (question: string) => {
    output.write(question)
    const { value = '' } = await lines.next()
    output.write('\n')
    return sound(name, value)
  }
  try {
    const secret = await ask(`${name}: `)
    if ((await ask(`${name} again: `)) === secret) return secret
    throw new SecretInputError(`the two ${name}s differ`)
  } finally {
    reader.close()
  }
}

function sound(name: string, secret: string): string {
  if (secret === '') throw new SecretInputError(`no ${name} given`)
  return secret
}
