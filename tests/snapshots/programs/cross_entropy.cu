#ifndef ftiny_maximum_f32
#define ftiny_maximum_f32
static __device__ __forceinline__ float maximum_f32(float x, float y) {
#if __CUDA_ARCH__ >= 800
    float r;
    asm("max.NaN.f32 %0, %1, %2;" : "=f"(r) : "f"(x), "f"(y));
    return r;
#else
    return x > y || x != x ? x : y;
#endif
}
#endif
extern "C" __global__ void __launch_bounds__(128)
max_sum_128x10(const float* __restrict__ a0, const int* __restrict__ a1, float* __restrict__ a2) {
    const int local_0 = (int)threadIdx.x;
    float s0 = __int_as_float(0xff800000);
    for (int j0 = 0; j0 < 10; j0++) {
        s0 = maximum_f32(s0, a0[(local_0 * 10) + j0]);
    }
    float s1 = 0.0f;
    for (int j0 = 0; j0 < 10; j0++) {
        s1 = s1 + expf(a0[(local_0 * 10) + j0] - s0);
    }
    float s2 = 0.0f;
    for (int j0 = 0; j0 < 10; j0++) {
        s2 = s2 + (((float)(a1[local_0] == j0)) * ((a0[(local_0 * 10) + j0] - s0) - logf(s1)));
    }
    a2[local_0] = s2;
}

extern "C" __global__ void __launch_bounds__(32)
sum_neg_128(const float* __restrict__ a0, float* __restrict__ a1) {
    const int local_0 = (int)threadIdx.x;
    float s0_v_0 = 0.0f;
    float s0_v_1 = 0.0f;
    float s0_v_2 = 0.0f;
    float s0_v_3 = 0.0f;
    const float4 v0_ = *(const float4*)(a0 + (local_0 * 4));
    const float a0_w1_0 = v0_.x, a0_w1_1 = v0_.y, a0_w1_2 = v0_.z, a0_w1_3 = v0_.w;
    const float s0_v_0_new2 = s0_v_0 + a0_w1_0;
    const float s0_v_1_new2 = s0_v_1 + a0_w1_1;
    const float s0_v_2_new2 = s0_v_2 + a0_w1_2;
    const float s0_v_3_new2 = s0_v_3 + a0_w1_3;
    s0_v_0 = s0_v_0_new2;
    s0_v_1 = s0_v_1_new2;
    s0_v_2 = s0_v_2_new2;
    s0_v_3 = s0_v_3_new2;
    const float s0_c2_0 = s0_v_0 + s0_v_2;
    const float s0_c2_1 = s0_v_1 + s0_v_3;
    float s0 = s0_c2_0 + s0_c2_1;
    const float s0_from = __shfl_xor_sync(0xffffffffu, s0, 16);
    s0 = s0 + s0_from;
    const float s0_from_1 = __shfl_xor_sync(0xffffffffu, s0, 8);
    s0 = s0 + s0_from_1;
    const float s0_from_2 = __shfl_xor_sync(0xffffffffu, s0, 4);
    s0 = s0 + s0_from_2;
    const float s0_from_3 = __shfl_xor_sync(0xffffffffu, s0, 2);
    s0 = s0 + s0_from_3;
    const float s0_from_4 = __shfl_xor_sync(0xffffffffu, s0, 1);
    s0 = s0 + s0_from_4;
    if (local_0 == 0) {
        a1[0] = -(s0 / 128.0f);
    }
}
