/** The HTTP API, asked with the token of whoever looks at the page. */

const KEY = 'meerkat token'

/** Told by the server; `status` 0: it was not reached. */
export class Refused extends Error {
  constructor(status, detail) {
    super(detail)
    this.status = status
  }
}

/** Forgotten with the tab, and never sent by the browser of its own accord. */
export const token = {
  get: () => sessionStorage.getItem(KEY),
  keep: (text) => sessionStorage.setItem(KEY, text),
  forget: () => sessionStorage.removeItem(KEY),
}

let whenRefused = () => {}

/** What is done when the token is not good (any more). */
export function onUnauthorized(handler) {
  whenRefused = handler
}

/** What a token is good for. Throws Refused. */
export async function tokenAnswer(text) {
  return await (await reach('/api/token', { headers: authorized(text) })).json()
}

/** Gives a command and resolves to its result. Throws Refused. */
export async function ask(command, args = {}, signal = undefined) {
  return await (await give(command, args, { signal })).json()
}

/**
 * Items of a stream, until `signal` is aborted or the server ends it. `onOpen` is called once it is
 * followed. EventSource would send no token, so the stream is read here. Throws Refused.
 */
export async function* follow(command, args, { signal, onOpen }) {
  const { body } = await give(command, args, { signal, accept: 'text/event-stream' })
  onOpen()
  let text = ''
  for await (const part of body.pipeThrough(new TextDecoderStream())) {
    text += part
    const events = text.split('\n\n')
    text = events.pop() ?? ''
    for (const event of events) {
      const value = JSON.parse(/^data: (.*)$/m.exec(event)?.[1] ?? '{}')
      if (event.startsWith('event: error')) throw new Refused(value.status, value.detail)
      if (event.startsWith('event: item')) yield value
    }
  }
}

async function give(command, args, { signal, accept = 'application/json' }) {
  const headers = { ...authorized(token.get()), accept, 'content-type': 'application/json' }
  const body = JSON.stringify(args)
  try {
    const path = `/api/${command.replaceAll(' ', '/')}`
    return await reach(path, { method: 'POST', headers, body, signal })
  } catch (error) {
    if (error.status === 401) whenRefused()
    throw error
  }
}

function authorized(text) {
  return { authorization: `Bearer ${text}` }
}

async function reach(path, options) {
  const response = await fetch(path, { ...options, credentials: 'omit', cache: 'no-store' }).catch(
    (error) => {
      if (error.name === 'AbortError') throw error
      throw new Refused(0, 'The server cannot be reached.')
    },
  )
  if (response.ok) return response
  const { detail } = await response.json().catch(() => ({}))
  throw new Refused(response.status, detail ?? `The server answered ${response.status}.`)
}
