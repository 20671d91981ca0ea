#ifndef ftiny_maximum_f32
#define ftiny_maximum_f32
static __device__ __forceinline__ float maximum_f32(float x, float y) {
    return ((x > y) || (x != x)) ? x : y;
}
#endif
extern "C" __global__ void __launch_bounds__(32)
softmax(const float* __restrict__ x, float* __restrict__ y) {
    const int group_0 = (int)blockIdx.x;
    const int local_0 = (int)threadIdx.x;
    __shared__ __align__(16) float e[77];
    float m = __int_as_float(0xff800000);
    for (int jk = 0; jk < 3; jk++) {
        const int i0_ = jk * 32;
        if ((i0_ + local_0) < 77) {
            m = maximum_f32(m, x[((group_0 * 77) + i0_) + local_0]);
        }
    }
    const float m_from = __shfl_xor_sync(0xffffffffu, m, 16);
    m = maximum_f32(m, m_from);
    const float m_from_1 = __shfl_xor_sync(0xffffffffu, m, 8);
    m = maximum_f32(m, m_from_1);
    const float m_from_2 = __shfl_xor_sync(0xffffffffu, m, 4);
    m = maximum_f32(m, m_from_2);
    const float m_from_3 = __shfl_xor_sync(0xffffffffu, m, 2);
    m = maximum_f32(m, m_from_3);
    const float m_from_4 = __shfl_xor_sync(0xffffffffu, m, 1);
    m = maximum_f32(m, m_from_4);
    for (int jk_1 = 0; jk_1 < 3; jk_1++) {
        const int i1_ = jk_1 * 32;
        const int i2_ = i1_ + local_0;
        if (i2_ < 77) {
            e[i2_] = expf(x[((group_0 * 77) + i1_) + local_0] - m);
        }
    }
    __syncthreads();
    float s = 0.0f;
    for (int jk_2 = 0; jk_2 < 3; jk_2++) {
        const int i3_ = (jk_2 * 32) + local_0;
        if (i3_ < 77) {
            s = s + e[i3_];
        }
    }
    const float s_from = __shfl_xor_sync(0xffffffffu, s, 16);
    s = s + s_from;
    const float s_from_1 = __shfl_xor_sync(0xffffffffu, s, 8);
    s = s + s_from_1;
    const float s_from_2 = __shfl_xor_sync(0xffffffffu, s, 4);
    s = s + s_from_2;
    const float s_from_3 = __shfl_xor_sync(0xffffffffu, s, 2);
    s = s + s_from_3;
    const float s_from_4 = __shfl_xor_sync(0xffffffffu, s, 1);
    s = s + s_from_4;
    for (int jk_3 = 0; jk_3 < 3; jk_3++) {
        const int i4_ = jk_3 * 32;
        const int i5_ = i4_ + local_0;
        if (i5_ < 77) {
            y[((group_0 * 77) + i4_) + local_0] = e[i5_] / s;
        }
    }
}
