/** A call as it is sent; without an id it is a notification. */
interface Message {
  jsonrpc: "2.0";
  id?: number;
  method: string;
  params: unknown;
}

/** What a server says: a notification of its own, or an answer. */
interface Said {
  id?: unknown;
  method?: unknown;
  params?: Progress & { id: number };
}

/** A message whose answer is awaited. */
interface Awaited {
  isBatch: boolean;
  hear(progress: Progress): void;
  answer(said: unknown): void;
  fail(error: unknown): void;
}

/** A WebSocket, with many calls on it at a time. */
class Connection {
  private readonly awaited = new Map<number, Awaited>();
  private readonly opened: Promise<void>;

  constructor(private readonly socket: WebSocket) {
    this.opened = new Promise((resolve, reject) => {
      socket.onopen = () => resolve();
      socket.onmessage = (event) => this.receive(String(event.data));
      socket.onerror = () => undefined; // the end follows
      socket.onclose = ({ code, reason }) => {
        const error = new ConnectionLost(`The connection to ${socket.url} has ended: ${code} ${reason}`.trim(), code);
        reject(error);
        for (const each of new Set(this.awaited.values())) each.fail(error);
      };
    });
    this.opened.catch(() => undefined); // those who wait for it are told; maybe nobody does any more
  }

  get isOver(): boolean {
    return this.socket.readyState > 1; // it closes, or is closed
  }

  /** Send a call, or a batch; return what is answered, undefined to notifications. */
  send(content: Message | Message[], timeoutMs: number, { signal, onProgress }: CallOptions): Promise<unknown> {
    const ids = [content].flat().flatMap(({ id }) => (id === undefined ? [] : [id]));
    return new Promise((resolve, reject) => {
      let timer: ReturnType<typeof setTimeout>;
      let isSent = false;
      let isDone = false;
      const done = () => {
        isDone = true;
        clearTimeout(timer);
        signal?.removeEventListener("abort", abort);
        for (const id of ids) this.awaited.delete(id);
      };
      const fail = (error: unknown) => {
        done();
        reject(error);
      };
      const giveUp = (error: unknown) => {
        fail(error);
        if (isSent) this.cancel(ids);
      };
      const abort = () => giveUp(signal?.reason);
      const wait = () => {
        clearTimeout(timer);
        timer = setTimeout(() => giveUp(new DOMException("There was no answer in time", "TimeoutError")), timeoutMs);
      };
      const awaited: Awaited = {
        isBatch: Array.isArray(content),
        hear: (progress) => {
          wait(); // who reports is not stuck
          try {
            onProgress?.(progress);
          } catch (error) {
            giveUp(error);
          }
        },
        answer: (said) => {
          done();
          resolve(said);
        },
        fail,
      };
      wait();
      if (signal?.aborted) return abort();
      signal?.addEventListener("abort", abort);
      for (const id of ids) this.awaited.set(id, awaited);
      const begin = () => {
        if (isDone) return;
        this.socket.send(JSON.stringify(content));
        isSent = true;
        if (ids.length === 0) awaited.answer(undefined);
      };
      this.opened.then(begin).catch(fail);
    });
  }

  close(): void {
    this.socket.close();
  }

  private cancel(ids: number[]): void {
    if (this.isOver) return;
    for (const id of ids) this.socket.send(JSON.stringify({ jsonrpc: "2.0", method: "rpc.cancel", params: { id } }));
  }

  /** Give what the server says to whom it concerns; what concerns nobody any more is dropped. */
  private receive(text: string): void {
    let said: Said | Said[];
    try {
      said = JSON.parse(text);
    } catch {
      return this.close(); // this is no server of JSON-RPC: all are told that the connection has ended
    }
    if (!Array.isArray(said) && said.method !== undefined) {
      const { id, ...progress } = said.params ?? { id: 0, done: 0 };
      if (said.method === "rpc.progress") this.awaited.get(id)?.hear(progress);
      return;
    }
    const known = [said].flat().flatMap(({ id }) => this.awaited.get(id as number) ?? []);
    (known[0] ?? (Array.isArray(said) || said.id !== null ? undefined : this.nameless()))?.answer(said);
  }

  /** An error without an id stands for a batch that was refused as one, else for the oldest call. */
  private nameless(): Awaited | undefined {
    const all = [...this.awaited.values()];
    return all.find((each) => each.isBatch) ?? all[0];
  }
}
