// The operators of a restoration network (src/bdflow/networks/restoration.py), for WebAssembly SIMD.
//
// A picture of h x w cells with c channels lies in memory as (h + 2) x (w + 2) x c float32, around it a border of
// zeros, so that a 3x3 convolution needs no case for edges. Channels are padded to multiples of 8. Memory is laid out
// by the caller (src/network.js); nothing here allocates.

#include <stdint.h>
#include <wasm_simd128.h>

#define EXPORT(name) __attribute__((export_name(#name))) name
#define INLINE static inline __attribute__((always_inline))

enum { PLAIN, LEAKY, ADDED };  // what becomes of a convolution: itself; scaled and leaky ReLU; added to what is there
enum { CELL = 4 };             // pixels each way
enum { RUN = 3 * CELL };       // samples of a cell in one row of pixels: red, green, blue of each
enum { PIXELS = 4 };           // computed together: 8 sums stay in registers

typedef struct {
    const float *weights, *scale, *bias;
    int in_pixel, in_row, rows, run, out_pixel, mode;
} Strip;

INLINE void store(const Strip *s, int channel, v128_t sum, v128_t bias, float *out) {
    if (s->mode == LEAKY) {
        v128_t x = wasm_f32x4_add(wasm_f32x4_mul(sum, wasm_v128_load(s->scale + channel)), bias);
        sum = wasm_f32x4_max(x, wasm_f32x4_mul(x, wasm_f32x4_splat(0.1f)));
    } else {
        sum = wasm_f32x4_add(sum, bias);
        if (s->mode == ADDED) sum = wasm_f32x4_add(sum, wasm_v128_load(out));
    }
    wasm_v128_store(out, sum);
}

// Eight channels of so many neighbouring pixels. `pixels` is constant wherever this is inlined.
INLINE void block(int pixels, const Strip *s, const float *in, float *out) {
    v128_t low[8], high[8];
    for (int p = 0; p < pixels; p++) {
        low[p] = high[p] = wasm_f32x4_splat(0);
    }
    const float *weights = s->weights;
    for (int row = 0; row < s->rows; row++, in += s->in_row) {
        const float *seen = in;
        for (int k = 0; k < s->run; k++, seen++, weights += 8) {
            v128_t first = wasm_v128_load(weights), second = wasm_v128_load(weights + 4);
            for (int p = 0; p < pixels; p++) {
                v128_t sample = wasm_v128_load32_splat(seen + p * s->in_pixel);
                low[p] = wasm_f32x4_add(low[p], wasm_f32x4_mul(sample, first));
                high[p] = wasm_f32x4_add(high[p], wasm_f32x4_mul(sample, second));
            }
        }
    }
    v128_t bias[2] = {wasm_v128_load(s->bias), wasm_v128_load(s->bias + 4)};
    for (int p = 0; p < pixels; p++, out += s->out_pixel) {
        store(s, 0, low[p], bias[0], out);
        store(s, 4, high[p], bias[1], out + 4);
    }
}

// A convolution of `height` x `width` pixels. A pixel sees `rows` runs of `run` floats each, `in_row` floats apart; its
// neighbour to the right sees what lies `in_pixel` further on, the one below what lies `in_line` further on.
// Weights are (channels / 8, rows, run, 8), the bias and the scale of a LEAKY one (channels).
void EXPORT(convolve)(const float *in, int in_line, int in_pixel, int in_row, int rows, int run, const float *weights,
                      const float *scale, const float *bias, int channels, float *out, int out_line, int out_pixel,
                      int height, int width, int mode) {
    for (int y = 0; y < height; y++, in += in_line, out += out_line) {
        for (int c = 0; c < channels; c += 8) {
            Strip s = {weights + c * rows * run, scale + c, bias + c, in_pixel, in_row, rows, run, out_pixel, mode};
            int x = 0;
            for (; x + PIXELS <= width; x += PIXELS)
                block(PIXELS, &s, in + x * in_pixel, out + x * out_pixel + c);
            for (; x < width; x++) block(1, &s, in + x * in_pixel, out + x * out_pixel + c);
        }
    }
}

// RGB samples, as they lie in memory, to cells: channel 12 * row + 3 * column + colour, in -0.5 to 0.5.
void EXPORT(unshuffle)(const uint8_t *samples, float *cells, int line, int height, int width) {
    for (int y = 0; y < height; y++, cells += line)
        for (int row = 0; row < CELL; row++)
            for (int x = 0; x < width; x++)
                for (int k = 0; k < RUN; k++, samples++)
                    cells[x * CELL * RUN + row * RUN + k] = (float)*samples / 255 - 0.5f;
}

// What the cells add to the samples, in place: clipped, rounded, half to even.
void EXPORT(shuffle)(uint8_t *samples, const float *cells, int line, int height, int width) {
    for (int y = 0; y < height; y++, cells += line)
        for (int row = 0; row < CELL; row++)
            for (int x = 0; x < width; x++)
                for (int k = 0; k < RUN; k++, samples++) {
                    float sample = (float)*samples / 255 + cells[x * CELL * RUN + row * RUN + k];
                    sample = sample < 0 ? 0 : sample > 1 ? 1 : sample;
                    *samples = (uint8_t)__builtin_rintf(sample * 255);
                }
}
