#ifndef ftiny_maximum_f32x8
#define ftiny_maximum_f32x8
static inline float8 maximum_f32x8(float8 x, float8 y) {
    return select(y, x, (x > y) | (x != x));
}
#endif
#ifndef ftiny_maximum_f32x4
#define ftiny_maximum_f32x4
static inline float4 maximum_f32x4(float4 x, float4 y) {
    return select(y, x, (x > y) | (x != x));
}
#endif
#ifndef ftiny_maximum_f32x2
#define ftiny_maximum_f32x2
static inline float2 maximum_f32x2(float2 x, float2 y) {
    return select(y, x, (x > y) | (x != x));
}
#endif
#ifndef ftiny_maximum_f32
#define ftiny_maximum_f32
static inline float maximum_f32(float x, float y) {
    return ((x > y) || (x != x)) ? x : y;
}
#endif
__kernel __attribute__((reqd_work_group_size(1, 1, 1)))
void max_sum_128x10(__global const float* restrict a0, __global const int* restrict a1, __global float* restrict a2) {
    const int group_0 = get_group_id(0);
    for (int point = 0; point < min(26, (group_0 * (-26)) + 128); point++) {
        float8 s0_v0 = (float8)(-INFINITY);
        for (int j0v = 0; j0v < 1; j0v++) {
            s0_v0 = maximum_f32x8(s0_v0, vload8(0, a0 + ((group_0 * 260) + (point * 10))));
        }
        const float4 s0_c4 = maximum_f32x4(s0_v0.lo, s0_v0.hi);
        const float2 s0_c2 = maximum_f32x2(s0_c4.lo, s0_c4.hi);
        float s0 = maximum_f32(s0_c2.lo, s0_c2.hi);
        for (int j0t = 8; j0t < 10; j0t++) {
            s0 = maximum_f32(s0, a0[((group_0 * 260) + (point * 10)) + j0t]);
        }
        float8 s1_v0 = (float8)(0.0f);
        for (int j0v_1 = 0; j0v_1 < 1; j0v_1++) {
            s1_v0 = s1_v0 + exp(vload8(0, a0 + ((group_0 * 260) + (point * 10))) - s0);
        }
        const float4 s1_c4 = s1_v0.lo + s1_v0.hi;
        const float2 s1_c2 = s1_c4.lo + s1_c4.hi;
        float s1 = s1_c2.lo + s1_c2.hi;
        for (int j0t_1 = 8; j0t_1 < 10; j0t_1++) {
            s1 = s1 + exp(a0[((group_0 * 260) + (point * 10)) + j0t_1] - s0);
        }
        float8 s2_v0 = (float8)(0.0f);
        for (int j0v_2 = 0; j0v_2 < 1; j0v_2++) {
            const float8 t0_ = convert_float8((a1[(group_0 * 26) + point] == (int8)(0, 1, 2, 3, 4, 5, 6, 7)) & 1) * ((vload8(0, a0 + ((group_0 * 260) + (point * 10))) - s0) - log(s1));
            s2_v0 = s2_v0 + t0_;
        }
        const float4 s2_c4 = s2_v0.lo + s2_v0.hi;
        const float2 s2_c2 = s2_c4.lo + s2_c4.hi;
        float s2 = s2_c2.lo + s2_c2.hi;
        for (int j0t_2 = 8; j0t_2 < 10; j0t_2++) {
            const float t1_ = ((float)(a1[(group_0 * 26) + point] == j0t_2)) * ((a0[((group_0 * 260) + (point * 10)) + j0t_2] - s0) - log(s1));
            s2 = s2 + t1_;
        }
        const int i0_ = (group_0 * 26) + point;
        a2[i0_] = s2;
    }
}

__kernel __attribute__((reqd_work_group_size(1, 1, 1)))
void sum_neg_128(__global const float* restrict a0, __global float* restrict a1) {
    float16 s0_v0 = (float16)(0.0f);
    float16 s0_v1 = (float16)(0.0f);
    float16 s0_v2 = (float16)(0.0f);
    float16 s0_v3 = (float16)(0.0f);
    for (int j0v = 0; j0v < 2; j0v++) {
        s0_v0 = s0_v0 + vload16(0, a0 + (j0v * 64));
        s0_v1 = s0_v1 + vload16(0, a0 + ((j0v * 64) + 16));
        s0_v2 = s0_v2 + vload16(0, a0 + ((j0v * 64) + 32));
        s0_v3 = s0_v3 + vload16(0, a0 + ((j0v * 64) + 48));
    }
    const float16 s0_c16 = s0_v0 + s0_v1;
    const float16 s0_c16_1 = s0_v2 + s0_v3;
    const float16 s0_c16_2 = s0_c16 + s0_c16_1;
    const float8 s0_c8 = s0_c16_2.lo + s0_c16_2.hi;
    const float4 s0_c4 = s0_c8.lo + s0_c8.hi;
    const float2 s0_c2 = s0_c4.lo + s0_c4.hi;
    const float s0 = s0_c2.lo + s0_c2.hi;
    a1[0] = -(s0 / 128.0f);
}
