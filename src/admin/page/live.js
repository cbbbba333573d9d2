/** What keeps a view up to date for as long as it is looked at. */
import { follow } from './api.js'

const RETRY_MS = 2_000

/** Resolves early when `signal` is aborted. */
export function pause(ms, signal) {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, ms)
    signal.addEventListener(
      'abort',
      () => {
        clearTimeout(timer)
        resolve()
      },
      { once: true },
    )
  })
}

/** Follows a stream, anew when it breaks. `onState`: 'live', 'lost', or the text of a refusal. */
export async function stayOn(command, args, { signal, onItem, onState }) {
  while (!signal.aborted) {
    try {
      const onOpen = () => onState('live')
      for await (const item of follow(command, args, { signal, onOpen })) onItem(item)
    } catch (error) {
      if (signal.aborted) return
      const isFinal = error.status >= 400 && error.status < 500 && error.status !== 429
      if (isFinal) return onState(error.message)
    }
    if (signal.aborted) return
    onState('lost')
    await pause(RETRY_MS, signal)
  }
}

/** Asks now and then, not while nobody looks; `again` asks at once. */
export function repeat(everyMs, signal, work) {
  let wake = () => {}
  const again = () => wake()
  const loop = async () => {
    while (!signal.aborted) {
      if (!document.hidden) await work()
      const woken = new AbortController()
      wake = () => woken.abort()
      await pause(everyMs, AbortSignal.any([signal, woken.signal]))
    }
  }
  document.addEventListener('visibilitychange', again, { signal })
  void loop()
  return again
}
